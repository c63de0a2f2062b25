/** What the server extension tells, and what of it a person reads. */

import { Language, REASONS, WORDS, Words } from './words';

export interface IAmount {
  grains: string;
  tokens: string;
}

/** The service's answer; the same names as `wire.ServerView`. */
export interface IServerView {
  plan_title: string;
  team: boolean;
  balance: IAmount;
  allotment: IAmount;
  burn_mtok_h: number;
  session: { title: string; cost: IAmount; rate_mtok_h: number } | null;
  ends_at_ms: number | null;
  end_reason: string | null;
  stopping: string | null;
  enforced: boolean;
  keep_latest_ms: number | null;
  stop_when_done: boolean;
  notices: { notice_id: string; severity: string; text: string; created_at: string }[];
  console_url: string;
  as_of_ms: number;
}

export interface IState {
  problem: '' | 'starting' | 'away' | 'refused';
  view: IServerView | null;
  age_ms: number;
  left_ms: number | null;
  keep_left_ms: number | null;
  level: 'calm' | 'amber' | 'red';
  warning_ms: number | null;
  saving: boolean;
  when_done: boolean;
}

const GRAINS_PER_TOKEN = 3_600_000_000;
const MTOK_H_PER_TOK_H = 1000;

/** An answer this old is as good as new. */
const FRESH_MS = 120_000;

/** A state and the instant of this page's own clock at which it came. */
export class Received {
  constructor(
    readonly state: IState,
    readonly at_ms: number,
    /** Since when the server has not been there to tell more, if it is not. */
    readonly lost_ms?: number
  ) {}

  /** Return the same, with the server gone: what it burns from now on nobody knows. */
  lost(now_ms: number): Received {
    return new Received(this.state, this.at_ms, this.lost_ms ?? now_ms);
  }

  /** Return how old what is shown is. */
  ageMs(now_ms: number): number {
    return this.state.age_ms + (now_ms - this.at_ms);
  }

  leftMs(now_ms: number): number | null {
    const left = this.state.left_ms;
    return left === null ? null : Math.max(0, left - (this._known(now_ms) - this.at_ms));
  }

  keepLeftMs(now_ms: number): number | null {
    const left = this.state.keep_left_ms;
    const rest = left === null ? 0 : left - (this._known(now_ms) - this.at_ms);
    return rest > 0 ? rest : null;
  }

  /** Return the balance as it burns on; what the service knows is a minute old at most. */
  balance(now_ms: number): number {
    const view = this.state.view!;
    // A rate of r millitokens an hour is r grains a millisecond. For people only: no money here.
    const burnt = view.burn_mtok_h * this.ageMs(this._known(now_ms));
    return Math.max(0, Number(view.balance.grains) - burnt) / GRAINS_PER_TOKEN;
  }

  cost(now_ms: number): number {
    const session = this.state.view!.session!;
    const burnt = session.rate_mtok_h * this.ageMs(this._known(now_ms));
    return (Number(session.cost.grains) + burnt) / GRAINS_PER_TOKEN;
  }

  private _known(now_ms: number): number {
    return Math.min(now_ms, this.lost_ms ?? Infinity);
  }
}

/** Return an amount as a number, for people only. */
export function inTokens(amount: IAmount): number {
  return Number(amount.grains) / GRAINS_PER_TOKEN;
}

export function tokens(amount: number, language: Language): string {
  const digits = amount !== 0 && Math.abs(amount) < 10 ? 2 : 1;
  return new Intl.NumberFormat(language === 'zh' ? 'zh-CN' : 'en', {
    maximumFractionDigits: digits
  }).format(amount);
}

export function rate(mtok_h: number, language: Language): string {
  return tokens(mtok_h / MTOK_H_PER_TOK_H, language);
}

/** Return a span of time in its two largest units. */
export function duration(ms: number, language: Language): string {
  let seconds = Math.round(ms / 1000);
  if (seconds < 1) {
    return WORDS[language].moment;
  }
  if (seconds >= 3600) {
    seconds -= seconds % 60; // an hour away, seconds would only flicker
  }
  const amounts = [
    Math.floor(seconds / 86_400),
    Math.floor((seconds % 86_400) / 3600),
    Math.floor((seconds % 3600) / 60),
    seconds % 60
  ];
  const first = amounts.findIndex(amount => amount > 0);
  return amounts
    .map((amount, place) => ({ amount, place }))
    .slice(first, first + 2)
    .filter(({ amount }) => amount > 0)
    .map(({ amount, place }) => `${amount}${WORDS[language].units[place]}`)
    .join(' ');
}

export function reason(code: string | null, language: Language): string {
  return REASONS[language][code ?? ''] ?? code ?? '';
}

export function fill(template: string, values: Record<string, string>): string {
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

/** Return what does not go well, empty if all does. */
export function problem(received: Received, now_ms: number, words: Words, language: Language): string {
  const { state } = received;
  const age = duration(received.ageMs(now_ms), language);
  if (!state.view) {
    return state.problem === 'starting' ? words.starting : words[state.problem || 'starting'];
  }
  if (received.lost_ms !== undefined) {
    return `${words.offline} ${fill(words.age, { age })}`;
  }
  if (state.problem === 'away' || state.problem === 'refused') {
    return `${words[state.problem]} ${fill(words.age, { age })}`;
  }
  return received.ageMs(now_ms) > FRESH_MS ? fill(words.age, { age }) : '';
}

/** Return the line of the status bar. */
export function statusLine(received: Received, now_ms: number, language: Language): string {
  const words = WORDS[language];
  const { view } = received.state;
  if (!view) {
    return words.balance + ' –';
  }
  const parts = [`${words.balance} ${tokens(received.balance(now_ms), language)}`];
  if (received.lost_ms !== undefined) {
    // A server that was stopped burns no more, and is not about to be stopped.
    return [...parts, words.offline].join(' · ');
  }
  if (view.burn_mtok_h) {
    parts.push(fill(words.burn, { rate: rate(view.burn_mtok_h, language) }));
  }
  const left = received.leftMs(now_ms);
  if (view.stopping) {
    parts.push(words.stopping);
  } else if (left !== null) {
    parts.push(fill(words.left, { left: duration(left, language) }));
  }
  if (received.state.problem || received.ageMs(now_ms) > FRESH_MS) {
    parts.push(fill(words.age, { age: duration(received.ageMs(now_ms), language) }));
  }
  return parts.join(' · ');
}

/** Return the text of the warning that a state carries, null if it carries none. */
export function warningText(received: Received, now_ms: number, language: Language): string | null {
  const { state } = received;
  const words = WORDS[language];
  if (!state.view) {
    return null;
  }
  if (state.view.stopping) {
    return fill(words.warnStopping, { reason: reason(state.view.stopping, language) });
  }
  if (state.warning_ms === null) {
    return null;
  }
  const values = {
    left: duration(received.leftMs(now_ms) ?? 0, language),
    reason: reason(state.view.end_reason, language)
  };
  return fill(state.saving ? words.warnSaving : words.warn, values);
}

/** Return how long it is until the next time of day `HH:MM` on this computer. */
export function msUntil(time: string, now: Date): number | null {
  const match = /^(\d{1,2}):(\d{2})$/.exec(time);
  if (!match) {
    return null;
  }
  const at = new Date(now);
  at.setHours(Number(match[1]), Number(match[2]), 0, 0);
  if (at.getTime() <= now.getTime()) {
    at.setDate(at.getDate() + 1);
  }
  return at.getTime() - now.getTime();
}
