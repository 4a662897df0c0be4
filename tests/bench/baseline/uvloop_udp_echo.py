# uvloop_udp_echo.py - baseline: a datagram protocol of asyncio on uvloop.
#
# usage: python3 uvloop_udp_echo.py PORT
import asyncio
import sys

import uvloop


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.sendto = transport.sendto

    def datagram_received(self, data, addr):
        self.sendto(data, addr)


async def main(port):
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", port))
    await asyncio.Event().wait()


uvloop.install()
asyncio.run(main(int(sys.argv[1])))
