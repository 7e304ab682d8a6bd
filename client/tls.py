"""TLS connections that verify the node's certificate and name, with no authority but the contract's."""

from __future__ import annotations

import socket
import ssl

import redis


class VerifiedConnection(redis.SSLConnection):
    """redis-py's own adds the contract's authority to all of the system's: anybody whom one of these vouches for would
    be a node too. Reading those costs 50 ms of processor time for each connection besides, in the midst of a failover.
    """

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
        # Without a file of its own, the system's. Read each time: a file that was renewed counts from then on.
        context = ssl.create_default_context(cafile=self.ca_certs)
        return context.wrap_socket(sock, server_hostname=self.host)
