// Requests to the service, with the token that the reader of the page gave.

let token = sessionStorage.getItem('burnrec-token');

/** Whether a token was given. */
export const hasToken = () => Boolean(token);

/** Takes a token for this tab. */
export function take(text) {
  token = text;
  sessionStorage.setItem('burnrec-token', token);
}

/** The answer to a request. The token goes in a header of its own, which no page of another site can add. */
export function ask(path, { method = 'GET', headers = {}, body } = {}) {
  const all = token ? { ...headers, authorization: `Bearer ${token}` } : headers;
  return fetch(path, { method, headers: all, body, cache: 'no-store', signal: AbortSignal.timeout(15000) });
}

/** The JSON of an answer; throws with what the service says if it refuses. */
export async function json(path, how) {
  const reply = await ask(path, how);
  const text = await reply.text();
  let said;
  try { said = JSON.parse(text); } catch { said = null; }
  if (reply.ok) return said;
  throw new Error(said?.error?.message ?? `it answered ${reply.status}`);
}
