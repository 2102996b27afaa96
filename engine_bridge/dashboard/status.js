// Asks the server how it is, with its token where it wants one.

/** `{status}`, `{refused: true}` when a token is asked for, or `{}` when nobody answers. */
export async function fetchStatus() {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const answer = await fetch("api/status", { headers, cache: "no-store" });
    if (answer.status === 401) return { refused: true };
    return answer.ok ? { status: await answer.json() } : {};
  } catch {
    return {};
  }
}

/** Remembers the token until the tab is closed. */
export function keepToken(token) {
  sessionStorage.setItem("token", token);
}
