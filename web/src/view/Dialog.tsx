import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

import { usePage } from "./context";
import { Icon } from "./icons";

interface Props {
  title: string;
  class?: string;
  /** Content beside the close button. */
  actions?: ComponentChildren;
  children: ComponentChildren;
}

/** A modal dialog, closed with its button, Esc, a click outside, or the back gesture of a phone. */
export function Dialog({ title, class: className = "", actions, children }: Props): JSX.Element {
  const { overlay, t } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // Closing restores the focus.
    return () => element?.close();
  }, []);
  const close = (): void => void (overlay.value = null);
  // `cancel` comes before `close`: the next key may be pressed in between.
  const closed = (): void => void (dialog.current && close());
  return (
    <dialog
      ref={dialog}
      class={`dialog ${className}`}
      aria-labelledby={id}
      onCancel={close}
      onClose={closed}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <div class="dialog-inside">
        <header class="dialog-bar">
          <h2 id={id} dir="auto">
            {title}
          </h2>
          {actions}
          <button type="button" class="plain" aria-label={t("close")} title={t("close")} onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
