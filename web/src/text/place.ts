export interface Place {
  /** Its description without the coordinates, or the coordinates if there is none. */
  title: string | null;
  detail: string;
  /** A map link, made only of the two numbers of the message. */
  map: string | null;
}

const COORDINATES = /^\s*(-?\d{1,2}(?:\.\d{1,12})?)\s*,\s*(-?\d{1,3}(?:\.\d{1,12})?)\s*$/;

/** A location from its message: lines of text, one of which may be latitude and longitude. */
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
