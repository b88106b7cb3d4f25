"""Another user: lines of JSON in, what came of each run out. `python -m tests.tools_registry.runner.somebody`."""

import base64
import json
import sys
from dataclasses import asdict

from tools_registry.runner import Ran, Runner, protections
from tools_registry.studio import Limits

ALSO = ["tests.tools_registry.runner.culprits"]


def written(ran: Ran) -> str:
    return json.dumps(asdict(ran) | {"output": base64.b64encode(ran.output).decode()}, default=str)


def main() -> None:
    runner = Runner(ALSO, at_once=4)
    print(json.dumps(protections().missing), flush=True)
    for line in sys.stdin:
        said = json.loads(line)
        print(written(runner.run(said["function"], said["inputs"], {}, Limits(**said["limits"]))), flush=True)


if __name__ == "__main__":
    main()
