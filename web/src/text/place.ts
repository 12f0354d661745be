export interface Place {
  /** What is said of it, without the numbers; the numbers where nothing is said. */
  title: string | null;
  detail: string;
  /** A map there, made of two numbers and nothing else that came with the message. */
  map: string | null;
}

const COORDINATES = /^\s*(-?\d{1,2}(?:\.\d{1,12})?)\s*,\s*(-?\d{1,3}(?:\.\d{1,12})?)\s*$/;

/** A location as its message tells it: lines of words, one of which may be latitude and longitude. */
export function placeOf(text: string | null): Place {
  const lines = (text ?? "").split("\n").filter((line) => line.trim() !== "");
  const index = lines.findIndex((line) => COORDINATES.test(line));
  const [, latitude, longitude] = COORDINATES.exec(lines[index] ?? "") ?? [];
  const [title = null, ...others] = lines.filter((_, at) => at !== index);
  const numbers = latitude && longitude ? coordinates(Number(latitude), Number(longitude)) : null;
  const detail = [...others, ...(numbers ? [numbers.words] : [])].join("\n");
  return { title, detail, map: numbers?.map ?? null };
}

function coordinates(latitude: number, longitude: number): { words: string; map: string } | null {
  if (Math.abs(latitude) > 90 || Math.abs(longitude) > 180) return null;
  const [north, east] = [latitude.toFixed(5), longitude.toFixed(5)];
  return {
    words: `${north}, ${east}`,
    map: `https://www.openstreetmap.org/?mlat=${north}&mlon=${east}#map=16/${north}/${east}`,
  };
}
