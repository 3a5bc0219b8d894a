"""The agent of time-agent, in Python: commands and events by JSON-RPC 2.0, a line each.

    hyperseaport service -r agent@1.0.0 --stdio -- python3 agent.py
"""

import json
import sys
import threading
import time

output = threading.Lock()
running = threading.Event()


def say(message):
    with output:
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def fetch_time():
    return {"type": "FETCHED_TIME", "payload": int(time.time() * 1000)}


def broadcast():
    while running.is_set():
        event = fetch_time()
        say({"method": "event", "params": {"type": event["type"], "data": event["payload"]}})
        time.sleep(1)


def start(_data):
    if not running.is_set():
        running.set()
        threading.Thread(target=broadcast, daemon=True).start()


def stop(_data):
    running.clear()


COMMANDS = {"start": start, "stop": stop, "fetch": lambda _data: fetch_time()}

for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue  # a notification, as when a caller gave up
    command = COMMANDS.get(request["method"])
    if command is None:
        error = {"code": -32601, "message": "there is no command " + request["method"]}
        say({"id": request["id"], "error": error})
        continue
    try:
        say({"id": request["id"], "result": command(request.get("params"))})
    except Exception as error:
        say({"id": request["id"], "error": {"code": -32000, "message": str(error)}})
