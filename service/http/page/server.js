// What the page asks the server: which model it has, and what it finds. Addresses are relative to the page's own.

// A full server says when there is room; after so many refusals the visitor decides.
const TRIES = 4;

/** What /model says. Throws an Error whose message can be shown. */
export async function askModel() {
  return await answered(await fetch("model"));
}

/**
 * The answer of /detect for one file, with all that the model can give: what is shown of it is chosen here, without
 * another request. `waiting` is called with the seconds that the server asks for. Throws an Error to be shown.
 */
export async function detect(file, manifest, waiting) {
  const query = new URLSearchParams({ score_threshold: 0, proposals: manifest.max_proposals });
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  for (let left = TRIES; ; left -= 1) {
    const headers = { "content-type": type, accept: "application/json" };
    const reply = await fetch(`detect?${query}`, { method: "POST", headers, body: file });
    const wait = Number(reply.headers.get("retry-after"));
    if (reply.ok || !wait || left === 1) {
      return await answered(reply);
    }
    waiting(wait);
    await new Promise((done) => setTimeout(done, 1000 * wait));
  }
}

async function answered(reply) {
  // A proxy between may answer with a page of its own.
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) {
    throw new Error(body.detail ?? body.title ?? `The server answered ${reply.status}.`);
  }
  return body;
}
