// The vendors' own SDKs for JavaScript, as sdk_stream.py for Python. Usage: node sdk_stream.mjs MODULES URL URL-OF-OPENAI.
// MODULES is the folder that the SDKs are installed in. Prints one JSON object.
import { createRequire } from "node:module";

const [, , modules, url, openaiUrl] = process.argv;
const load = createRequire(modules + "/");
const { default: Anthropic } = await import(load.resolve("@anthropic-ai/sdk"));
const { default: OpenAI } = await import(load.resolve("openai"));

const out = {};
const schema = { type: "object", properties: { at: { type: "string" } } };
const claude = new Anthropic({ baseURL: url, apiKey: "test-key-not-real", maxRetries: 0 });
const ask = {
  model: "m",
  max_tokens: 100,
  messages: [{ role: "user", content: "hello #call" }],
  tools: [{ name: "look", description: "d", input_schema: schema }],
};
const message = await claude.messages.stream(ask).finalMessage();
out.anthropic_stream = message.content.map((block) => (block.type === "tool_use" ? block.input : block.text));
out.anthropic_stop = message.stop_reason;
const plain = [{ role: "user", content: "plain" }];
out.anthropic_whole = (await claude.messages.create({ ...ask, messages: plain })).content[0].text;
try {
  await claude.messages.create({ ...ask, messages: [{ role: "user", content: "#busy" }] });
} catch (error) {
  out.anthropic_error = [error.status, error.headers.get("retry-after")];
}

const gpt = new OpenAI({ baseURL: openaiUrl, apiKey: "test-key-not-real", maxRetries: 0 });
const tool = { type: "function", function: { name: "look", description: "d", parameters: schema } };
const chat = { model: "m", messages: ask.messages, tools: [tool] };
let [text, finish, total] = ["", null, 0];
const stream = await gpt.chat.completions.create({ ...chat, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  total = chunk.usage?.total_tokens ?? total;
  for (const choice of chunk.choices) {
    finish = choice.finish_reason ?? finish;
    for (const call of choice.delta.tool_calls ?? []) text += call.function.arguments ?? "";
  }
}
out.openai_stream = [JSON.parse(text), finish, total > 0];
out.openai_whole = (await gpt.chat.completions.create({ ...chat, messages: plain })).choices[0].message.content;
console.log(JSON.stringify(out));
