import { IState, Received, duration, msUntil, problem, statusLine, warningText } from '../src/state';
import { REASONS, WORDS, languageOf } from '../src/words';

const GRAINS = 3_600_000_000;
const MINUTE = 60_000;

function state(changes: Partial<IState> = {}, view: object = {}): IState {
  return {
    problem: '',
    age_ms: 0,
    left_ms: 90 * MINUTE,
    keep_left_ms: null,
    level: 'calm',
    warning_ms: null,
    saving: false,
    when_done: false,
    view: {
      plan_title: 'Basic',
      team: false,
      balance: { grains: String(10 * GRAINS), tokens: '10' },
      allotment: { grains: String(50 * GRAINS), tokens: '50' },
      burn_mtok_h: 6000,
      session: { title: 'CPU', cost: { grains: String(GRAINS), tokens: '1' }, rate_mtok_h: 6000 },
      ends_at_ms: 0,
      end_reason: 'dry',
      stopping: null,
      enforced: true,
      keep_latest_ms: null,
      stop_when_done: true,
      notices: [],
      console_url: '/services/tokens/',
      as_of_ms: 0,
      ...view
    },
    ...changes
  };
}

test('the status bar burns on between two answers', () => {
  const received = new Received(state(), 1000);
  expect(statusLine(received, 1000, 'en')).toBe('Balance 10 · 6/h · 1 h 30 min left');
  expect(statusLine(received, 1000 + MINUTE, 'en')).toBe('Balance 9.9 · 6/h · 1 h 29 min left');
  expect(received.cost(1000 + 10 * MINUTE)).toBeCloseTo(2);
  expect(statusLine(received, 1000, 'zh')).toBe('额度 10 · 6/小时 · 剩余 1 小时 30 分钟');
});

test('what a server burns that cannot be reached is not made up', () => {
  const lost = new Received(state(), 0).lost(MINUTE).lost(5 * MINUTE);
  expect(statusLine(lost, 10 * MINUTE, 'en')).toBe('Balance 9.9 · This server cannot be reached.');
  expect(problem(lost, 10 * MINUTE, WORDS.en, 'en')).toBe(
    'This server cannot be reached. as of 10 min ago'
  );
  expect(lost.cost(10 * MINUTE)).toBeCloseTo(1.1);
});

test('an old answer is shown with its age, and why', () => {
  const received = new Received(state({ problem: 'away', age_ms: 4 * MINUTE }), 0);
  expect(statusLine(received, 0, 'en')).toContain('as of 4 min ago');
  expect(problem(received, MINUTE, WORDS.en, 'en')).toBe(
    'The token service is away. as of 5 min ago'
  );
  const unknown = new Received({ ...state(), view: null, problem: 'refused' }, 0);
  expect(problem(unknown, 0, WORDS.en, 'en')).toContain('refuses');
  expect(statusLine(unknown, 0, 'en')).toBe('Balance –');
});

test('warnings say how long is left and why', () => {
  const warned = { warning_ms: 5 * MINUTE, left_ms: 5 * MINUTE };
  expect(warningText(new Received(state(warned), 0), 0, 'en')).toBe(
    'This server stops in 5 min: the balance is used up.'
  );
  const last = new Received(state({ ...warned, saving: true }), 0);
  expect(warningText(last, 0, 'zh')).toContain('正在保存');
  const stopping = new Received(state({}, { stopping: 'asked' }), 0);
  expect(warningText(stopping, 0, 'en')).toContain('you asked for it');
  expect(warningText(new Received(state(), 0), 0, 'en')).toBeNull();
});

test('spans of time', () => {
  const second = 1000;
  const spans = [0, 59, 60, 61, 3600, 3661, 86_400, 90_000].map(s => duration(s * second, 'en'));
  expect(spans).toEqual(['a moment', '59 s', '1 min', '1 min 1 s', '1 h', '1 h 1 min', '1 d', '1 d 1 h']);
});

test('the next time of day', () => {
  const now = new Date(2026, 10, 24, 17, 30);
  expect(msUntil('18:00', now)).toBe(30 * MINUTE);
  expect(msUntil('17:30', now)).toBe(24 * 60 * MINUTE);
  expect(msUntil('', now)).toBeNull();
});

test('both languages say everything', () => {
  expect(Object.keys(WORDS.zh)).toEqual(Object.keys(WORDS.en));
  expect(Object.keys(REASONS.zh)).toEqual(Object.keys(REASONS.en));
  const holes = (text: unknown) => (String(text).match(/\{\w+\}/g) ?? []).sort();
  for (const key of Object.keys(WORDS.en) as (keyof typeof WORDS.en)[]) {
    expect([key, holes(WORDS.zh[key])]).toEqual([key, holes(WORDS.en[key])]);
  }
  expect(['zh_CN', 'zh-TW', 'en', 'default', 'fr_FR'].map(languageOf)).toEqual(['zh', 'zh', 'en', 'en', 'en']);
});
