"""The function that `benchmarks.invoke` has clients call: it answers with what it is given."""

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.generic_trigger(
    arg_name="invocation",
    type="signalRTrigger",
    hub_name="bench",
    category="messages",
    event="echo",
)
def echo(invocation: str) -> str:
    """Return the first argument of the call."""
    argument: str = json.loads(invocation)["Arguments"][0]
    return argument
