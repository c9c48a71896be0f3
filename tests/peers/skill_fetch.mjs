// A skill in JavaScript that fetches one address. Knows nothing of proxies.
let text = "";
for await (const chunk of process.stdin) text += chunk;
const url = JSON.parse(text).arguments.url;
let said;
try {
  const answer = await fetch(url);
  said = { fetch: [answer.status, await answer.text()] };
} catch (error) {
  said = { fetch: [0, `${error} ${error.cause ?? ""}`] };
}
console.log(JSON.stringify({ text: JSON.stringify(said) }));
