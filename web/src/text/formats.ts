import type { Language } from "./language";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

export function startOfDay(time: number): number {
  return new Date(time).setHours(0, 0, 0, 0);
}

/** Formats dates, times and sizes. The formatters are made once, because making one costs more than using it a thousand times. */
export class Formats {
  private readonly clock: Intl.DateTimeFormat;
  private readonly weekday: Intl.DateTimeFormat;
  private readonly shortDate: Intl.DateTimeFormat;
  private readonly longDay: Intl.DateTimeFormat;
  private readonly longDate: Intl.DateTimeFormat;
  private readonly full: Intl.DateTimeFormat;
  private readonly ago: Intl.RelativeTimeFormat;
  private readonly locale: string;

  constructor(private readonly language: Language) {
    this.locale = language.locale;
    const format = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
      new Intl.DateTimeFormat(this.locale, options);
    // "9:05 am", but "09:05".
    const { hour12 } = format({ hour: "numeric" }).resolvedOptions();
    this.clock = format({ hour: hour12 ? "numeric" : "2-digit", minute: "2-digit" });
    this.weekday = format({ weekday: "short" });
    this.shortDate = format({ year: "2-digit", month: "2-digit", day: "2-digit" });
    this.longDay = format({ weekday: "long", month: "long", day: "numeric" });
    this.longDate = format({ year: "numeric", month: "long", day: "numeric" });
    this.full = format({ dateStyle: "full", timeStyle: "medium" });
    this.ago = new Intl.RelativeTimeFormat(this.locale, { style: "narrow" });
  }

  time(timestamp: string): string {
    return this.clock.format(Date.parse(timestamp));
  }

  /** The full date and time, for tooltips. */
  moment(timestamp: string): string {
    return this.full.format(Date.parse(timestamp));
  }

  /** Short form for lists: minutes within the hour, a time today, then a day, then a date. */
  brief(timestamp: string, now: number): string {
    const time = Date.parse(timestamp);
    const minutes = Math.floor((now - time) / MINUTE_MS);
    // Clocks differ: a time slightly in the future means now.
    if (minutes >= -2 && minutes < 1) return this.language.t("justNow");
    if (minutes >= 1 && minutes < 60) return this.ago.format(-minutes, "minute");
    const days = daysBefore(time, startOfDay(now));
    if (days === 0) return this.clock.format(time);
    if (days === 1) return this.language.t("yesterday");
    return days > 1 && days < 7 ? this.weekday.format(time) : this.shortDate.format(time);
  }

  /** The line between two days. */
  day(timestamp: string, today: number): string {
    const time = Date.parse(timestamp);
    const days = daysBefore(time, today);
    if (days === 0) return this.language.t("today");
    if (days === 1) return this.language.t("yesterday");
    const sameYear = new Date(time).getFullYear() === new Date(today).getFullYear();
    return (sameYear ? this.longDay : this.longDate).format(time);
  }

  size(bytes: number): string {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;
    const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
    const value = bytes / 1000 ** power;
    return new Intl.NumberFormat(this.locale, {
      style: "unit",
      unit: units[power] ?? "byte",
      unitDisplay: power === 0 ? "long" : "short",
      maximumFractionDigits: value < 10 && power > 0 ? 1 : 0,
    }).format(value);
  }

  duration(seconds: number): string {
    const whole = Math.round(seconds);
    const parts = [Math.floor(whole / 60) % 60, whole % 60];
    const hours = Math.floor(whole / 3600);
    const rest = parts.map((part) => String(part).padStart(2, "0"));
    return hours > 0 ? `${hours}:${rest.join(":")}` : `${parts[0]}:${rest[1]}`;
  }
}

/** Whole calendar days, also across a daylight saving change. */
function daysBefore(time: number, today: number): number {
  return Math.round((today - startOfDay(time)) / DAY_MS);
}
