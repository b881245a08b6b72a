"""The reference for requests and connections: uvicorn and Starlette, and nothing that is ours.

It answers what the load clients ask with as little as Starlette can: no tokens, hubs or keep-alive.
"""

import json
import secrets
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def take(request: Request) -> Response:
    """Read the body and say 202."""
    await request.body()
    return Response(None, 202)


async def negotiate(request: Request) -> Response:
    """Give out an id and a token."""
    return JSONResponse(
        {
            "negotiateVersion": 1,
            "connectionId": secrets.token_urlsafe(16),
            "connectionToken": secrets.token_urlsafe(24),
            "availableTransports": [
                {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}
            ],
        }
    )


async def connect(socket: WebSocket) -> None:
    """Accept, answer the handshake and each invocation, and read until the client is gone."""
    await socket.accept()
    await socket.receive_text()
    await socket.send_text("{}\x1e")
    try:
        while True:
            call = json.loads((await socket.receive_text())[:-1])
            if call["type"] == 1:
                answer = {"type": 3, "invocationId": call["invocationId"]}
                answer["result"] = call["arguments"][0]
                await socket.send_text(json.dumps(answer, separators=(",", ":")) + "\x1e")
    except WebSocketDisconnect:
        return


def main() -> None:
    """Serve on a free port and print which."""
    app = Starlette(
        routes=[
            Route("/api/{path:path}", take, methods=["POST"]),
            Route("/client/negotiate", negotiate, methods=["POST"]),
            WebSocketRoute("/client/", connect),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_ping_interval=None,  # the load client answers none
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
