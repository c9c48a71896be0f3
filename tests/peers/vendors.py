"""The services that bundled skills ask, as third parties know them: their own types hold our stand-ins' answers and the
requests that the skills made. Usage: vendors.py FILE, where FILE holds {"requests": {...}, "answers": {...}}.
Prints what was checked; exits with 1 when anything does not fit."""
import dataclasses
import importlib.util
import json
import pathlib
import sys
import types
import typing
import urllib.parse

import pydantic

from sdk_types import strict


def fit(kind, value, at):
    """Whether a value is of a dataclass's types, which generated code does not look at."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fit(one, value, at) for one in typing.get_args(kind))
    if origin is list:
        return isinstance(value, list) and all(fit(typing.get_args(kind)[0], one, at) for one in value)
    if origin is dict:
        return isinstance(value, dict)
    if kind is typing.Any:
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is type(None):
        return value is None
    return isinstance(value, kind)


def check_dataclass(value, at):
    """All fields that a schema requires are there, and every one is of its type."""
    assert dataclasses.is_dataclass(value), at
    hints = typing.get_type_hints(type(value), vars(sys.modules[type(value).__module__]))
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        assert fit(hints[field.name], inner, at), f"{at}.{field.name}: {inner!r} is no {hints[field.name]}"
        for one in inner if isinstance(inner, list) else [inner]:
            if dataclasses.is_dataclass(one):
                check_dataclass(one, f"{at}.{field.name}")


def open_meteo(requests, answers):
    """Generated from Open-Meteo's own OpenAPI description."""
    for name, path, operation in (("forecast", "/v1/forecast", "GetV1Forecast"), ("geocoding", "/v1/search", "SearchLocations")):
        operations = importlib.import_module(f"action0.open_meteo.{name}.operations")
        operation = getattr(operations, operation)
        assert operation.path == path
        query = urllib.parse.parse_qs(requests[path])
        unknown = set(query) - set(typing.get_type_hints(operation, vars(operations)))
        assert not unknown, f"{path}: {unknown} stand in no description"
        if name == "forecast":
            models = importlib.import_module(f"action0.open_meteo.{name}.models")
            for key, items in (("current", models.GetV1ForecastCurrentItem), ("daily", models.GetV1ForecastDailyItem)):
                asked = set(query[key][0].split(","))
                assert asked <= {item.value for item in items}, f"{path}: {key}: {asked}"
        check_dataclass(operation.load_json(None, answers[path]), path)
    yield "open-meteo: requests and answers of forecast and search"


def openweather(_, answers):
    """pyowm, the best known client, reads them."""
    from pyowm.weatherapi30.forecast import Forecast
    from pyowm.weatherapi30.observation import Observation
    now = Observation.from_dict(answers["/data/2.5/weather"])
    assert (now.location.name, now.weather.detailed_status) == ("London", "light rain"), now
    steps = Forecast.from_dict({**answers["/data/2.5/forecast"], "interval": "3h"})
    assert len(steps) == 2 and steps.location.name == "London"
    yield "openweathermap: answers of weather and forecast"


def brave(_, answers):
    """Types of a client, and a real answer that it ships."""
    # By its file: the package as a whole starts a service of its own.
    package = pathlib.Path(importlib.util.find_spec("brave_search_python_client").origin).parent
    spec = importlib.util.spec_from_file_location("brave_web", package / "responses/web_search.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["brave_web"] = module
    spec.loader.exec_module(module)
    module.WebSearchApiResponse.model_rebuild()
    real = json.load(open(answers["real_brave"], encoding="utf-8"))
    for name, answer in (("real", real), ("ours", answers["brave"])):
        found = module.WebSearchApiResponse.model_validate(answer).web.results
        assert found and all(one.title and one.url for one in found), name
    yield "brave: a real answer and ours"


def openai(requests, answers):
    """The official SDK's types."""
    from openai.types import ImagesResponse, image_generate_params
    from openai.types.audio import Transcription, transcription_create_params
    strict("openai.types")
    asked = pydantic.TypeAdapter(image_generate_params.ImageGenerateParamsNonStreaming)
    asked.validate_python(requests["images"], strict=True)
    fields = set(typing.get_type_hints(transcription_create_params.TranscriptionCreateParamsNonStreaming))
    unknown = set(requests["transcription"]) - fields
    assert not unknown and "file" in requests["transcription"], unknown
    for kind, answer in ((ImagesResponse, answers["images"]), (Transcription, answers["transcription"])):
        read = kind.model_validate(answer)
        assert not read.model_extra, f"{kind.__name__} does not know {read.model_extra}"
    yield "openai: requests and answers of transcriptions and images"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        said = json.load(file)
    for check in (open_meteo, openweather, brave, openai):
        for line in check(said["requests"], said["answers"]):
            print(line)


if __name__ == "__main__":
    main()
