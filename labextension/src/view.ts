/** What is seen: the item of the status bar, and the panel. */

import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';

import {
  Received,
  duration,
  fill,
  inTokens,
  msUntil,
  problem,
  rate,
  reason,
  statusLine,
  tokens
} from './state';
import { Language, WORDS, Words } from './words';

const TICK_MS = 1000;

/** A gauge: a dial of which three quarters are full, and its hand. */
const ICON = new LabIcon({
  name: 'jhub-tokens-lab:gauge',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3 jp-icon-selectable" fill="#616161">
    <path d="M12 3a10 10 0 0 0-8.66 15h2.4a8 8 0 1 1 12.52 0h2.4A10 10 0 0 0 12 3z"/>
    <path d="M17.2 7.8 10.6 13a2.4 2.4 0 1 0 3.2 3.2z"/>
  </g>
</svg>`
});

export interface IActs {
  stop(): void;
  whenDone(on: boolean): void;
  keep(forMs: number | null): void;
}

/** Draws again each second while it is seen, so that the countdown is true. */
abstract class Live extends Widget {
  constructor(protected language: Language) {
    super();
    this.words = WORDS[language];
  }

  show_(received: Received): void {
    this.received = received;
    this.draw();
  }

  protected onBeforeShow(): void {
    this.draw();
  }

  protected onAfterAttach(): void {
    this._timer = window.setInterval(() => {
      if (this.isVisible && !document.hidden) {
        this.draw();
      }
    }, TICK_MS);
    this.draw();
  }

  protected onBeforeDetach(): void {
    window.clearInterval(this._timer);
  }

  protected abstract draw(): void;

  protected received: Received | null = null;
  protected words: Words;
  private _timer = 0;
}

export class StatusItem extends Live {
  constructor(language: Language, open: () => void) {
    super(language);
    this.addClass('jp-JhubTokens-status');
    this._button.type = 'button';
    this._button.onclick = open;
    this.node.append(this._button);
  }

  protected draw(): void {
    const received = this.received;
    if (!received) {
      return;
    }
    const now = performance.now();
    const text = statusLine(received, now, this.language);
    if (this._button.textContent !== text) {
      this._button.textContent = text;
    }
    this._button.title = problem(received, now, this.words, this.language) || this.words.title;
    this._button.dataset.level = received.state.level;
  }

  private _button = document.createElement('button');
}

export class Panel extends Live {
  constructor(
    language: Language,
    private _acts: IActs
  ) {
    super(language);
    this.id = 'jhub-tokens-panel';
    this.title.icon = ICON;
    this.title.caption = this.words.title;
    this.addClass('jp-JhubTokens-panel');
    this._build();
  }

  protected draw(): void {
    const received = this.received;
    if (!received) {
      return;
    }
    const { words, language } = this;
    const now = performance.now();
    const { state } = received;
    const view = state.view;
    this.node.dataset.level = state.level;
    this._text('problem', problem(received, now, words, language));
    this._body.hidden = !view;
    if (!view) {
      return;
    }
    this._drawBalance(received.balance(now), inTokens(view.allotment), view.plan_title);
    this._text('burn', fill(words.perHour, { rate: rate(view.burn_mtok_h, language) }));
    this._text(
      'session',
      view.session ? `${tokens(received.cost(now), language)} · ${view.session.title}` : '–'
    );
    const left = received.leftMs(now);
    const why = reason(view.stopping ?? view.end_reason, language);
    this._text(
      'left',
      view.stopping
        ? `${words.stopping} (${why})`
        : left === null
          ? words.noEnd
          : `${duration(left, language)} (${why})`
    );
    this._text('shadow', view.enforced ? '' : words.shadow);
    const kept = received.keepLeftMs(now);
    this._text('kept', kept ? fill(words.keptFor, { left: duration(kept, language) }) : words.keepWhy);
    this._keep.hidden = view.keep_latest_ms === null;
    this._keepClear.hidden = kept === null;
    this._done.checked = state.when_done;
    this._doneLabel.hidden = !view.stop_when_done;
    this._links[0].href = view.console_url;
    this._links[1].href = `${view.console_url}#code`;
    this._drawNotices();
  }

  private _drawBalance(balance: number, allotment: number, plan: string): void {
    const { words, language } = this;
    this._text('balance', tokens(balance, language));
    this._text('of', fill(words.of, { allotment: tokens(allotment, language), plan }));
    // What was bought may exceed the allotment.
    const full = Math.max(balance, allotment);
    this._bar.hidden = full <= 0;
    this._fill.style.width = `${full > 0 ? (100 * balance) / full : 0}%`;
    this._bar.setAttribute('aria-valuemax', String(full));
    this._bar.setAttribute('aria-valuenow', balance.toFixed(2));
  }

  private _drawNotices(): void {
    const notices = this.received!.state.view!.notices;
    const key = notices.map(notice => notice.notice_id).join();
    if (key === this._noticesKey) {
      return;
    }
    this._noticesKey = key;
    this._notices.replaceChildren(
      ...notices.map(notice => {
        const item = element('li', '', `${notice.created_at}: ${notice.text}`);
        item.dataset.severity = notice.severity;
        return item;
      })
    );
    this._noticesTitle.hidden = !notices.length;
  }

  private _build(): void {
    const { words } = this;
    const head = element('p', 'jp-JhubTokens-head');
    head.append(this._slot('strong', 'balance'), this._slot('span', 'of'));
    this._bar.setAttribute('role', 'meter');
    this._bar.setAttribute('aria-label', words.balance);
    this._bar.setAttribute('aria-valuemin', '0');
    this._bar.append(this._fill);
    const list = element('dl');
    for (const [name, label] of [
      ['burn', words.burning],
      ['session', words.session],
      ['left', words.endsIn]
    ]) {
      list.append(element('dt', '', label), this._slot('dd', name));
    }
    for (const link of this._links) {
      link.target = '_blank';
      link.rel = 'noopener';
    }
    this._links[0].textContent = words.console;
    this._links[1].textContent = words.topUp;
    const links = element('p', 'jp-JhubTokens-links');
    links.append(...this._links);

    this._time.type = 'time';
    this._time.required = true;
    this._time.setAttribute('aria-label', words.keep);
    const keepLabel = element('label', '', words.keep);
    keepLabel.append(this._time);
    const set = button(words.keepSet);
    set.type = 'submit';
    this._keepClear.type = 'button';
    this._keepClear.textContent = words.keepClear;
    this._keepClear.onclick = () => this._acts.keep(null);
    this._keep.append(keepLabel, set, this._slot('p', 'kept'), this._keepClear);
    this._keep.onsubmit = event => {
      event.preventDefault();
      this._acts.keep(msUntil(this._time.value, new Date()));
    };

    this._done.type = 'checkbox';
    this._done.onchange = () => this._acts.whenDone(this._done.checked);
    this._doneLabel.append(this._done, words.whenDone);
    const stop = button(words.stop);
    stop.classList.add('jp-mod-warn');
    stop.onclick = () => this._acts.stop();

    this._body.append(
      head,
      this._bar,
      list,
      this._slot('p', 'shadow'),
      links,
      this._keep,
      this._doneLabel,
      stop,
      this._noticesTitle,
      this._notices
    );
    this._noticesTitle.textContent = words.notices;
    this._slots.problem.setAttribute('role', 'status');
    this.node.append(element('h2', '', words.title), this._slots.problem, this._body);
  }

  private _slot(tag: string, name: string): HTMLElement {
    return (this._slots[name] = element(tag));
  }

  private _text(name: string, text: string): void {
    const slot = this._slots[name];
    if (slot.textContent !== text) {
      slot.textContent = text;
    }
    slot.hidden = !text;
  }

  private _slots: Record<string, HTMLElement> = { problem: element('p', 'jp-JhubTokens-problem') };
  private _body = element('div');
  private _bar = element('div', 'jp-JhubTokens-bar');
  private _fill = element('span');
  private _links = [document.createElement('a'), document.createElement('a')];
  private _keep = document.createElement('form');
  private _time = document.createElement('input');
  private _keepClear = button('');
  private _done = document.createElement('input');
  private _doneLabel = element('label', 'jp-JhubTokens-done');
  private _noticesTitle = element('h3');
  private _notices = element('ul');
  private _noticesKey = 'none yet';
}

function element(tag: string, className = '', text = ''): HTMLElement {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function button(text: string): HTMLButtonElement {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'jp-mod-styled';
  node.textContent = text;
  return node;
}
