/**
 * The interface's words. Two languages beside each other are easier to keep true than a language
 * pack, which Lab would load from a distribution of its own.
 */

export type Language = 'en' | 'zh';

const EN = {
  title: 'Balance',
  balance: 'Balance',
  of: 'of {allotment} tokens · {plan}',
  burn: '{rate}/h',
  left: '{left} left',
  stopping: 'stopping',
  age: 'as of {age} ago',
  moment: 'a moment',
  units: [' d', ' h', ' min', ' s'],
  starting: 'Asking the token service …',
  away: 'The token service is away.',
  refused: 'The token service refuses this server’s token.',
  offline: 'This server cannot be reached.',
  burning: 'Burning',
  perHour: '{rate} an hour',
  session: 'This session',
  endsIn: 'Stops in',
  noEnd: 'no end in sight',
  shadow: 'Not enforced: nothing is stopped.',
  console: 'Balance and statement',
  topUp: 'Top up',
  notices: 'Notices',
  stop: 'Stop this server',
  stopAsk: 'Open documents are saved first; kernels end. Stop this server now?',
  cancel: 'Cancel',
  whenDone: 'Stop when these cells are done',
  keep: 'Keep running until',
  keepSet: 'Keep',
  keepClear: 'No longer',
  keptFor: 'Kept running, even if idle, for {left} more.',
  keepWhy: 'An idle server may be stopped by the hub; it burns as long as it runs.',
  warn: 'This server stops in {left}: {reason}.',
  warnSaving: 'This server stops in {left}: {reason}. Open documents are being saved.',
  warnStopping: 'This server is being stopped: {reason}.',
  copied: 'Another tab had saved a different version. Your edits are kept in {paths}.',
  notSaved: 'Could not be saved: {paths}'
};

export type Words = typeof EN;

const ZH: Words = {
  title: '额度',
  balance: '额度',
  of: '/ {allotment} · {plan}',
  burn: '{rate}/小时',
  left: '剩余 {left}',
  stopping: '正在停止',
  age: '{age} 前的数据',
  moment: '片刻',
  units: [' 天', ' 小时', ' 分钟', ' 秒'],
  starting: '正在查询额度服务……',
  away: '额度服务暂时无法访问。',
  refused: '额度服务拒绝了此服务器的令牌。',
  offline: '无法连接此服务器。',
  burning: '消耗',
  perHour: '每小时 {rate}',
  session: '本次会话',
  endsIn: '距停止',
  noEnd: '暂无停止计划',
  shadow: '尚未启用限制：不会停止任何服务器。',
  console: '额度与账单',
  topUp: '充值',
  notices: '通知',
  stop: '停止此服务器',
  stopAsk: '将先保存打开的文档，然后结束内核。现在停止此服务器吗？',
  cancel: '取消',
  whenDone: '单元格运行完毕后停止',
  keep: '保持运行至',
  keepSet: '保持',
  keepClear: '取消保持',
  keptFor: '即使空闲也将继续运行 {left}。',
  keepWhy: '空闲的服务器可能会被停止；只要在运行就会消耗额度。',
  warn: '此服务器将在 {left} 后停止：{reason}。',
  warnSaving: '此服务器将在 {left} 后停止：{reason}。正在保存打开的文档。',
  warnStopping: '此服务器正在停止：{reason}。',
  copied: '另一个标签页已保存了不同的版本。您的修改保存在 {paths}。',
  notSaved: '无法保存：{paths}'
};

export const WORDS: Record<Language, Words> = { en: EN, zh: ZH };

/** Why a server is stopped; terminals say the same. */
export const REASONS: Record<Language, Record<string, string>> = {
  en: {
    dry: 'the balance is used up',
    max_run: 'its longest run is over',
    day_limit: 'today’s limit is reached',
    week_limit: 'this week’s limit is reached',
    team_cap: 'your share of the team’s tokens is spent',
    left_team: 'you are no longer in the team that pays',
    frozen: 'your membership is frozen',
    asked: 'you asked for it',
    ordered: 'an administrator stopped it',
    idle: 'nothing uses it'
  },
  zh: {
    dry: '额度已用完',
    max_run: '已达最长运行时间',
    day_limit: '已达今日上限',
    week_limit: '已达本周上限',
    team_cap: '您在团队额度中的份额已用完',
    left_team: '您已不在付费团队中',
    frozen: '会员资格已冻结',
    asked: '您要求停止',
    ordered: '管理员停止了服务器',
    idle: '无人使用'
  }
};

/** Return the language that we have for a locale of Lab's, such as `zh_CN`. */
export function languageOf(locale: string): Language {
  return locale.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}
