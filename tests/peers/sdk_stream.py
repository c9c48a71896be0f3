"""The vendors' own SDKs talk to the scripted model: what they accept from it is what the vendors' servers send.
Usage: sdk_stream.py URL [URL of the OpenAI protocol, by default URL/v1]. Prints one JSON object."""
import json
import sys

import anthropic
import openai

url = sys.argv[1]
out = {}
tools = {"name": "look", "description": "d", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
claude = anthropic.Anthropic(base_url=url, api_key="test-key-not-real", max_retries=0)
ask = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello #call"}], "tools": [tools]}
with claude.messages.stream(**ask) as stream:
    message = stream.get_final_message()
out["anthropic_stream"] = [block.input if block.type == "tool_use" else block.text for block in message.content]
out["anthropic_stop"] = message.stop_reason
out["anthropic_whole"] = claude.messages.create(**{**ask, "messages": [{"role": "user", "content": "plain"}]}).content[0].text
try:
    claude.messages.create(**{**ask, "messages": [{"role": "user", "content": "#busy"}]})
except anthropic.APIStatusError as error:
    out["anthropic_error"] = [error.status_code, error.response.headers.get("retry-after")]

gpt = openai.OpenAI(base_url=sys.argv[2] if len(sys.argv) > 2 else url + "/v1", api_key="test-key-not-real", max_retries=0)
function = {"type": "function", "function": {"name": "look", "description": "d", "parameters": tools["input_schema"]}}
chat = {"model": "m", "messages": [{"role": "user", "content": "hello #call"}], "tools": [function]}
arguments, finish, total = "", None, 0
for chunk in gpt.chat.completions.create(**chat, stream=True, stream_options={"include_usage": True}):
    total = chunk.usage.total_tokens if chunk.usage else total
    for choice in chunk.choices:
        finish = choice.finish_reason or finish
        for call in choice.delta.tool_calls or []:
            arguments += call.function.arguments or ""
out["openai_stream"] = [json.loads(arguments), finish, total > 0]
plain = gpt.chat.completions.create(**{**chat, "messages": [{"role": "user", "content": "plain"}]})
out["openai_whole"] = plain.choices[0].message.content
print(json.dumps(out))
