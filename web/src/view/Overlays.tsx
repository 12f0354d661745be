import type { JSX } from "preact";

import { usePage, type FullPicture } from "./context";
import { Check } from "./Check";
import { Dialog } from "./Dialog";
import { Help } from "./Help";
import { Icon } from "./icons";
import { Preferences } from "./Preferences";
import { QuickReplyEditor } from "./QuickReplies";
import { SignInForm } from "./SignIn";

/** The overlays of the page. */
export function Overlays(): JSX.Element | null {
  const { overlay, t, signInAgain } = usePage();
  const shown = overlay.value;
  if (!shown) return null;
  if (shown.name === "help") return <Help />;
  if (shown.name === "preferences") return <Preferences />;
  if (shown.name === "check") return <Check />;
  if (shown.name === "quickReplies") return <QuickReplyEditor sessionId={shown.sessionId} />;
  if (shown.name === "picture") return <Picture {...shown.picture} />;
  const onToken = async (token: string): Promise<boolean> => {
    const good = await signInAgain(token);
    if (good) overlay.value = null;
    return good;
  };
  return (
    <Dialog title={t("signInAgain")} class="is-form">
      <SignInForm t={t} onToken={onToken} />
    </Dialog>
  );
}

function Picture({ url, alt }: FullPicture): JSX.Element {
  const { t } = usePage();
  const outside = (
    <a class="plain" href={url} target="_blank" rel="noopener noreferrer" aria-label={t("openOutside")} title={t("openOutside")}>
      <Icon name="outside" />
    </a>
  );
  return (
    <Dialog title={alt} class="is-picture" actions={outside}>
      <img src={url} alt={alt} referrerpolicy="no-referrer" data-testid="full-picture" />
    </Dialog>
  );
}
