import { signal, type ReadonlySignal } from "@preact/signals";

import { startOfDay } from "../text/formats";

const visibleNow = signal(!document.hidden);
document.addEventListener("visibilitychange", () => (visibleNow.value = !document.hidden));

/** Whether somebody can see this tab. */
export const visible: ReadonlySignal<boolean> = visibleNow;

const todayNow = signal(startOfDay(Date.now()));
setInterval(() => (todayNow.value = startOfDay(Date.now())), 30_000);

/** The start of the present day: what is called "today" changes at midnight, also on a page that stays open. */
export const today: ReadonlySignal<number> = todayNow;
