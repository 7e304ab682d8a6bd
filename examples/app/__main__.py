"""python -m examples.app [--host 127.0.0.1] [--port 8080], configured by REDIS_* variables (make -s env)."""

from __future__ import annotations

import argparse
import logging
import os
import sys

import uvicorn

from client.environment import contract_from_env
from examples.app.app import WithCorrelationId, create_app
from infra.problems import ConfigurationError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.app", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    handler = logging.StreamHandler()
    handler.addFilter(WithCorrelationId())
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s [%(correlation_id)s] %(message)s",
        handlers=[handler],
    )
    try:
        # Before the port is open: a pod with a wrong configuration never becomes ready.
        contract = contract_from_env(os.environ)
    except ConfigurationError as error:
        sys.stderr.write(f"app: {error}\n")
        return 1
    uvicorn.run(create_app(contract), host=given.host, port=given.port, log_config=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
