"""The providers' own SDKs judge our requests: each body must be one that their request types describe, with no field
that they don't know. Usage: sdk_types.py FILE, where FILE holds {"anthropic": [bodies], "openai": [bodies]}.
Prints {"checked": {...}, "refused": [...]}; exits with 1 when any is refused."""
import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping

import pydantic
import typing_extensions

REQUESTS = {
    "anthropic": ("anthropic.types.message_create_params", "MessageCreateParamsStreaming"),
    "openai": ("openai.types.chat.completion_create_params", "CompletionCreateParamsStreaming"),
}


def strict(package):
    """Makes every request type of a package refuse fields that it does not name."""
    root = importlib.import_module(package)
    for info in pkgutil.walk_packages(root.__path__, package + "."):
        module = importlib.import_module(info.name)
        for thing in vars(module).values():
            if isinstance(thing, type) and typing_extensions.is_typeddict(thing):
                thing.__pydantic_config__ = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def read(value, at="request"):
    """Lists are checked only while they are read: reads all of them."""
    if isinstance(value, pydantic.BaseModel):
        # An answer's type, which may stand in a request as well, but lets unknown fields pass.
        if value.model_extra:
            raise ValueError(f"{at}: fields that {type(value).__name__} does not know: {', '.join(value.model_extra)}")
        value = dict(value)
    if isinstance(value, Mapping):
        return {key: read(inner, f"{at}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple, Iterator)) or type(value).__name__ == "ValidatorIterator":
        return [read(inner, f"{at}[{number}]") for number, inner in enumerate(value)]
    return value


def judge(vendor, bodies):
    module, name = REQUESTS[vendor]
    strict(module.split(".")[0] + ".types")
    adapter = pydantic.TypeAdapter(getattr(importlib.import_module(module), name))
    for number, body in enumerate(bodies):
        try:
            # In Python's own types, so that no text becomes a number on the way.
            read(adapter.validate_python(body, strict=True))
        except pydantic.ValidationError as error:
            errors = error.errors(include_url=False, include_input=False, include_context=False)
            errors = [".".join(map(str, one["loc"])) + ": " + one["msg"] for one in errors[:8]]
            yield {"vendor": vendor, "number": number, "errors": errors}
        except ValueError as error:
            yield {"vendor": vendor, "number": number, "errors": [str(error)]}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        requests = json.load(file)
    refused = [refusal for vendor, bodies in requests.items() for refusal in judge(vendor, bodies)]
    print(json.dumps({"checked": {vendor: len(bodies) for vendor, bodies in requests.items()}, "refused": refused}))
    # Nothing to check is no success.
    sys.exit(1 if refused or not any(requests.values()) else 0)


if __name__ == "__main__":
    main()
