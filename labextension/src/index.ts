/** Balance, warnings and activity of a jhub-tokens hub, in JupyterLab and Notebook. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { DocumentRegistry } from '@jupyterlab/docregistry';
import { ServerConnection } from '@jupyterlab/services';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { Feed, ISocket } from './feed';
import { IDocument, ISaved, Saver } from './saving';
import { Received, fill, warningText } from './state';
import { Panel, StatusItem } from './view';
import { WORDS, languageOf } from './words';

const DOCUMENTS_SETTLED_MS = 500;

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'jhub-tokens-lab:plugin',
  description: 'Balance, warnings and activity of a jhub-tokens hub.',
  autoStart: true,
  requires: [IDocumentManager],
  optional: [ITranslator, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    documents: IDocumentManager,
    translator: ITranslator | null,
    statusBar: IStatusBar | null
  ) => {
    if (PageConfig.getOption('jhubTokens') !== 'yes') {
      return; // no hub with tokens has started this server
    }
    // Not before Lab itself is there: nobody waits for a balance.
    void app.restored.then(() => begin(app, documents, translator, statusBar));
  }
};

function begin(
  app: JupyterFrontEnd,
  manager: IDocumentManager,
  translator: ITranslator | null,
  statusBar: IStatusBar | null
): void {
  const locale = translator?.languageCode ?? 'en';
  const language = languageOf(locale);
  const words = WORDS[language];
  const { contents, serverSettings } = app.serviceManager;

  const act = async (body: object): Promise<void> => {
    const url = URLExt.join(serverSettings.baseUrl, 'jhub-tokens', 'act');
    const init = { method: 'POST', body: JSON.stringify(body) };
    try {
      const response = await ServerConnection.makeRequest(url, init, serverSettings);
      if (!response.ok) {
        const answer = await response.json().catch(() => ({}));
        Notification.error(answer.message ?? response.statusText, { autoClose: 8000 });
      }
    } catch {
      Notification.error(words.offline, { autoClose: 8000 });
    }
  };
  const panel = new Panel(language, {
    keep: for_ms => void act({ act: 'keep', for_ms }),
    whenDone: on => void act({ act: 'when_done', on }),
    stop: async () => {
      const buttons = [
        Dialog.cancelButton({ label: words.cancel }),
        Dialog.warnButton({ label: words.stop })
      ];
      const answer = await showDialog({ title: words.stop, body: words.stopAsk, buttons });
      if (answer.button.accept) {
        await act({ act: 'stop' });
      }
    }
  });
  app.shell.add(panel, 'right', { rank: 900 });
  const item = new StatusItem(language, () => app.shell.activateById(panel.id));
  if (statusBar) {
    statusBar.registerStatusItem('jhub-tokens-lab:status', { item, align: 'right', rank: 50 });
  } else {
    item.id = 'jhub-tokens-status'; // Notebook 7 has no status bar
    app.shell.add(item, 'top', { rank: 900 });
  }

  const contexts = (): DocumentRegistry.Context[] => {
    const found = new Set<DocumentRegistry.Context>();
    for (const widget of [...widgetsOf(app.shell, 'main'), ...widgetsOf(app.shell, 'down')]) {
      const context = manager.contextForWidget(widget);
      if (context) {
        found.add(context);
      }
    }
    return [...found];
  };
  const paths = () => contexts().map(context => contents.localPath(context.path));
  const saver = new Saver(contents);
  const warned = new Warnings(language);
  const feed = new Feed({
    open: () => {
      const url = URLExt.join(serverSettings.wsUrl, 'jhub-tokens', 'feed');
      return new serverSettings.WebSocket(url) as unknown as ISocket;
    },
    language: locale,
    documents: paths,
    save: () => saver.saveAll(contexts().map(documentOf)),
    onState: received => {
      item.show_(received);
      panel.show_(received);
      warned.tell(received);
    },
    onSaved: saved => warned.tellSaved(saved),
    now: () => performance.now()
  });
  feed.start();
  for (const type of ['keydown', 'pointerdown', 'wheel']) {
    document.addEventListener(type, () => feed.tellUsed(), { capture: true, passive: true });
  }
  let settling = 0;
  const main = app.shell as unknown as { layoutModified?: { connect(slot: () => void): void } };
  (main.layoutModified ?? app.shell.currentChanged)?.connect(() => {
    window.clearTimeout(settling);
    settling = window.setTimeout(() => feed.tellDocuments(), DOCUMENTS_SETTLED_MS);
  });
}

/** Return an area's widgets; not every Lab, nor Notebook, lets every area be listed. */
function widgetsOf(shell: JupyterFrontEnd.IShell, area: string): Widget[] {
  try {
    return [...shell.widgets(area)];
  } catch {
    return [];
  }
}

function documentOf(context: DocumentRegistry.Context): IDocument {
  const { model } = context;
  return {
    key: context,
    path: context.path,
    shared: model.collaborative ?? false,
    get dirty() {
      return model.dirty;
    },
    get lastModified() {
      return context.contentsModel?.last_modified;
    },
    content: () => {
      const known = context.contentsModel;
      const format = known?.format ?? 'text';
      const content = format === 'json' ? model.toJSON() : model.toString();
      return { type: known?.type ?? 'file', format, content };
    },
    save: () => context.save()
  };
}

/** Tells each warning once, in the place of the one before. */
class Warnings {
  constructor(private _language: 'en' | 'zh') {}

  tell(received: Received): void {
    const { state } = received;
    const key = state.view?.stopping ?? state.warning_ms;
    if (key === this._key) {
      return;
    }
    this._key = key;
    if (this._shown) {
      Notification.dismiss(this._shown);
      this._shown = '';
    }
    const text = warningText(received, performance.now(), this._language);
    if (text) {
      const type = state.level === 'red' ? 'error' : 'warning';
      this._shown = Notification.emit(text, type, { autoClose: false });
    }
  }

  tellSaved(saved: ISaved): void {
    const words = WORDS[this._language];
    const { copies, failed } = saved;
    for (const [template, paths, type] of [
      [words.copied, copies, 'warning'],
      [words.notSaved, failed, 'error']
    ] as const) {
      const text = fill(template, { paths: paths.join(', ') });
      if (paths.length && !this._told.has(text)) {
        this._told.add(text);
        Notification.emit(text, type, { autoClose: false });
      }
    }
  }

  private _key: string | number | null = null;
  private _shown = '';
  private _told = new Set<string>();
}

export default plugin;
