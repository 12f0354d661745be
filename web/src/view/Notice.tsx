import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

import { usePage } from "./context";

const SHOWN_MS = 6_000;

/** A short notice that something did not work. */
export function Notice(): JSX.Element {
  const { desk, t } = usePage();
  const notice = desk.notice.value;
  useEffect(() => {
    if (!notice) return;
    const timer = setTimeout(() => (desk.notice.value = null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [notice, desk]);
  return (
    <p class="notice" role="status" data-testid="notice">
      {notice && t(notice.key, notice.places)}
    </p>
  );
}
