import { computed, signal, type ReadonlySignal } from "@preact/signals";

import { startOfDay } from "../text/formats";

const visibleNow = signal(!document.hidden);
document.addEventListener("visibilitychange", () => (visibleNow.value = !document.hidden));

/** Whether somebody can see this tab. */
export const visible: ReadonlySignal<boolean> = visibleNow;

const focused = signal(document.hasFocus());
addEventListener("focus", () => (focused.value = true));
addEventListener("blur", () => (focused.value = false));

/** Whether somebody works with it: a window on a second monitor is seen, and nobody reads in it. */
export const attended: ReadonlySignal<boolean> = computed(() => visibleNow.value && focused.value);

const clock = signal(Date.now());
setInterval(() => (clock.value = Date.now()), 10_000);
// The timers of a hidden tab sleep: what is looked at again is true at once.
document.addEventListener("visibilitychange", () => (clock.value = Date.now()));

/** The time, exact enough for "5 min ago". */
export const now: ReadonlySignal<number> = clock;

/** The start of the present day: what is called "today" changes at midnight, also on a page that stays open. */
export const today: ReadonlySignal<number> = computed(() => startOfDay(clock.value));
