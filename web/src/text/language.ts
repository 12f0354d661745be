import { en, type TextKey, type Texts } from "./en";
import { zhHans } from "./zh-hans";
import { zhHant } from "./zh-hant";

export type Translate = (key: TextKey, places?: Record<string, string | number>) => string;

export interface Language {
  /** For `lang` of the document and for `Intl`. */
  locale: string;
  t: Translate;
}

export function chooseLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const texts = textsFor(tag);
    if (texts) return { locale: tag, t: translator(texts, tag) };
  }
  return { locale: "en", t: translator(en, "en") };
}

function textsFor(tag: string): Texts | null {
  let locale: Intl.Locale;
  try {
    locale = new Intl.Locale(tag).maximize();
  } catch {
    return null; // not a language tag
  }
  if (locale.language === "en") return en;
  if (locale.language === "zh" || locale.language === "yue") return locale.script === "Hant" ? zhHant : zhHans;
  return null;
}

function translator(texts: Texts, locale: string): Translate {
  const plural = new Intl.PluralRules(locale);
  const numbers = new Intl.NumberFormat(locale);
  return (key, places = {}) => {
    const text = texts[key];
    const form =
      typeof text === "string" ? text : text[plural.select(Number(places["count"])) === "one" ? "one" : "other"];
    return form.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = places[name];
      return typeof value === "number" ? numbers.format(value) : (value ?? "");
    });
  };
}
