import { computed, signal, type ReadonlySignal } from "@preact/signals";

import { startOfDay } from "../text/formats";

const visibleNow = signal(!document.hidden);
document.addEventListener("visibilitychange", () => (visibleNow.value = !document.hidden));

/** Whether this tab is visible. */
export const visible: ReadonlySignal<boolean> = visibleNow;

const focused = signal(document.hasFocus());
addEventListener("focus", () => (focused.value = true));
addEventListener("blur", () => (focused.value = false));

/** Whether the tab has the focus: a window on a second monitor may be visible without being read. */
export const attended: ReadonlySignal<boolean> = computed(() => visibleNow.value && focused.value);

const clock = signal(Date.now());
setInterval(() => (clock.value = Date.now()), 10_000);
// The timers of a hidden tab are slow, so values are updated when it becomes visible.
document.addEventListener("visibilitychange", () => (clock.value = Date.now()));

/** The time, exact enough for "5 min ago". */
export const now: ReadonlySignal<number> = clock;

/** The start of the present day, so that "today" changes at midnight while the page is open. */
export const today: ReadonlySignal<number> = computed(() => startOfDay(clock.value));
