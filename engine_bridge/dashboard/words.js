// Small ways to tell: how long, how many, a list of terms.

/** Milliseconds with their unit: "7.8 ms", "340 ms", "1.2 s"; "" for undefined. */
export function duration(ms) {
  if (ms === undefined) return "";
  if (ms < 999.5) return `${ms.toFixed(ms < 9.95 ? 1 : 0)} ms`;
  return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;
}

/** "1 tick", "2,000 ticks"; a plural that takes more than an s is given. */
export function plural(count, noun, nouns = `${noun}s`) {
  return `${count.toLocaleString()} ${count === 1 ? noun : nouns}`;
}

/** Fills a list of terms; what is undefined is left out. */
export function facts(list, given) {
  const parts = [];
  for (const [term, value] of Object.entries(given)) {
    if (value === undefined || value === "") continue;
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = value;
    parts.push(dt, dd);
  }
  list.replaceChildren(...parts);
}
