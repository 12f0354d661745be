import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";

import { usePage } from "./context";
import { Dialog } from "./Dialog";

/** The settings for notifications and sound in this browser. */
export function Preferences(): JSX.Element {
  const { t, notify, sound, hearable, overlay } = usePage();
  const [blocked, setBlocked] = useState(typeof Notification !== "function" || Notification.permission === "denied");

  const setNotify = async (on: boolean): Promise<void> => {
    if (!on || typeof Notification !== "function") return notify.set(false);
    const permission = await Notification.requestPermission();
    setBlocked(permission === "denied");
    notify.set(permission === "granted");
  };
  const setSound = (on: boolean): void => {
    sound.set(on);
    if (on) hearable();
  };

  return (
    <Dialog title={t("preferences")}>
      <Switch
        name={t("notify")}
        hint={t(blocked ? "notifyBlocked" : "notifyHint")}
        on={notify.on.value && !blocked}
        disabled={blocked}
        onChange={(on) => void setNotify(on)}
      />
      <Switch name={t("sound")} hint={t("soundHint")} on={sound.on.value} onChange={setSound} />
      <p class="buttons">
        <button type="button" class="secondary" onClick={() => (overlay.value = { name: "check" })}>
          {t("check")}
        </button>
      </p>
    </Dialog>
  );
}

interface SwitchProps {
  name: string;
  hint: string;
  on: boolean;
  disabled?: boolean;
  onChange: (on: boolean) => void;
}

function Switch({ name, hint, on, disabled = false, onChange }: SwitchProps): JSX.Element {
  const id = useId();
  return (
    <label class="switch-line">
      <span class="switch-words">
        <span class="switch-name">{name}</span>
        <span class="hint" id={id}>
          {hint}
        </span>
      </span>
      <input
        type="checkbox"
        role="switch"
        class="switch"
        checked={on}
        disabled={disabled}
        aria-label={name}
        aria-describedby={id}
        onChange={(event) => {
          onChange(event.currentTarget.checked);
          // Show the actual state, not the requested one.
          event.currentTarget.checked = on;
        }}
      />
    </label>
  );
}
