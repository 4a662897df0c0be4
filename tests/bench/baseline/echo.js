// echo.js - baseline: node's net module, with its own backpressure.
//
// usage: node echo.js PORT
"use strict";

const server = require("net").createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => {
        if (!socket.write(bytes)) {
            socket.pause();
            socket.once("drain", () => socket.resume());
        }
    });
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
