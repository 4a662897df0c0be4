// udp_echo.js - baseline: node's dgram module.
//
// usage: node udp_echo.js PORT
"use strict";

const socket = require("dgram").createSocket({ type: "udp4" });
socket.on("error", () => {});
socket.on("message", (bytes, peer) => socket.send(bytes, peer.port, peer.address, () => {}));
socket.bind(Number(process.argv[2]), "127.0.0.1");
