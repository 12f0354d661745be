import type { JSX } from "preact";

import { hueOf, initials, isGroup } from "../text/names";
import { Icon } from "./icons";

export function Avatar({ id, name }: { id: string; name: string | null }): JSX.Element {
  const letters = name ? initials(name) : "#";
  const icon = isGroup(id) ? "people" : "person";
  return (
    <span class="avatar" style={{ "--hue": String(hueOf(id)) }} aria-hidden="true">
      {letters === "#" ? <Icon name={icon} /> : letters}
    </span>
  );
}
