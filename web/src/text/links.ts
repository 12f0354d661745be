/** A safe web link: http or https, never `javascript:` and the like. */
export function safeUrl(url: string): string | null {
  try {
    return /^https?:$/.test(new URL(url).protocol) ? url : null;
  } catch {
    return null;
  }
}

/** A message's preview, if it is a valid picture: nothing else may be used in a style or an image. */
export function safePreview(preview: string | null | undefined): string | null {
  return preview && /^data:image\/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}$/.test(preview) ? preview : null;
}

/** Scheme, host and port in comparable form, or `null` if it is not a URL. */
export function originOf(url: unknown): string | null {
  return typeof url === "string" && URL.canParse(url) ? new URL(url).origin : null;
}

export type Piece = { text: string; href?: string };

/** Web and mail addresses. The length of mail addresses is limited, so that no text makes this slow. */
const LINKS =
  /\bhttps?:\/\/[^\s<>"'\u202A-\u202E\u2066-\u2069、。，！？；：（）「」]+|\bwww\.[\p{L}\p{N}-]{1,63}\.[^\s<>"'\u202A-\u202E\u2066-\u2069、。，！？；：（）「」]+|(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24}(?![\w@])/giu;

/** Splits a text into plain parts and links. Punctuation at the end of a sentence is not part of a link. */
export function linked(text: string): Piece[] {
  const pieces: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(LINKS)) {
    const found = withoutEnd(match[0]);
    const href = hrefOf(found);
    if (!href) continue;
    if (match.index > from) pieces.push({ text: text.slice(from, match.index) });
    pieces.push({ text: found, href });
    from = match.index + found.length;
  }
  if (from < text.length) pieces.push({ text: text.slice(from) });
  return pieces;
}

function hrefOf(found: string): string | null {
  if (/^https?:/i.test(found)) return safeUrl(found);
  return /^www\./i.test(found) ? safeUrl(`https://${found}`) : `mailto:${encodeURIComponent(found).replace("%40", "@")}`;
}

function withoutEnd(url: string): string {
  const trimmed = url.replace(/[.,;:!?…]+$/u, "");
  // A closing bracket belongs to the link only if the link contains the opening one.
  return trimmed.endsWith(")") && !trimmed.includes("(") ? withoutEnd(trimmed.slice(0, -1)) : trimmed;
}
