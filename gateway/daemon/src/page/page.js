"use strict";
// Every request that changes something carries a header that no other page can set.
const ask = (path, body) => fetch(path, { method: "POST", headers: { "X-Page": "own" }, body });

const login = document.getElementById("login");
if (login) {
  login.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = document.getElementById("said");
    const token = document.getElementById("token");
    const answer = await ask("/login", token.value.trim()).catch(() => null);
    token.value = "";
    if (answer && answer.status === 204) location.replace("/");
    else if (answer && answer.status === 429) said.textContent = "Too many wrong tokens from this address. Try again in a quarter of an hour.";
    else said.textContent = answer ? "That is not the token." : "No answer.";
  });
} else {
  let timer;
  const later = () => { clearTimeout(timer); timer = setTimeout(refresh, document.querySelector("[data-busy]") ? 1500 : 10000); };
  const refresh = async () => {
    const answer = document.hidden ? null : await fetch("/").catch(() => null);
    if (answer && answer.status === 401) return location.reload();
    if (answer && answer.ok) {
      const open = [...document.querySelectorAll("details")].map((one) => one.open);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("main").replaceWith(fresh.getElementById("main"));
      const all = document.querySelectorAll("details");
      if (all.length === open.length) all.forEach((one, at) => { one.open = open[at]; });
    }
    later();
  };
  document.addEventListener("click", async (event) => {
    if (event.target.id === "drill") {
      event.target.disabled = true;
      await ask("/drill").catch(() => null);
      refresh();
    } else if (event.target.id === "logout") {
      await ask("/logout").catch(() => null);
      location.reload();
    }
  });
  later();
}
