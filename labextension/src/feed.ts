/** The websocket to the server extension: the state is pushed, saving is asked for. */

import { Received, IState } from './state';
import { ISaved } from './saving';

const RETRY_FIRST_MS = 1000;
const RETRY_LONGEST_MS = 30_000;
/** That somebody is here is told no more often than this. */
const USED_AGAIN_MS = 20_000;

export interface ISocket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  readonly readyState: number;
  send(text: string): void;
  close(): void;
}

export interface IFeedOptions {
  open(): ISocket;
  language: string;
  documents(): string[];
  save(): Promise<ISaved>;
  onState(received: Received): void;
  onSaved(saved: ISaved): void;
  now(): number;
}

const OPEN = 1;

export class Feed {
  constructor(private _options: IFeedOptions) {}

  /** Connect, and again for as long as the page lives. */
  start(): void {
    const socket = (this._socket = this._options.open());
    socket.onopen = () => {
      this._retryMs = RETRY_FIRST_MS;
      this.tellDocuments();
    };
    socket.onmessage = event => void this._receive(socket, event.data);
    socket.onclose = () => {
      if (this._last) {
        this._last = this._last.lost(this._options.now());
        this._options.onState(this._last);
      }
      setTimeout(() => this.start(), this._retryMs);
      this._retryMs = Math.min(this._retryMs * 2, RETRY_LONGEST_MS);
    };
  }

  /** Tell which documents are open here: the server writes their checkpoints. */
  tellDocuments(): void {
    if (this._socket?.readyState === OPEN) {
      const { language } = this._options;
      this._send(this._socket, { type: 'hello', language, documents: this._options.documents() });
    }
  }

  /** Tell that somebody is at this page: a tab that is only open keeps no server running. */
  tellUsed(): void {
    const now = this._options.now();
    if (this._socket?.readyState === OPEN && now - this._usedAt >= USED_AGAIN_MS) {
      this._usedAt = now;
      this._send(this._socket, { type: 'used' });
    }
  }

  private async _receive(socket: ISocket, text: string): Promise<void> {
    const message = JSON.parse(text);
    if (message.type === 'state') {
      this._last = new Received(message.state as IState, this._options.now());
      this._options.onState(this._last);
    } else if (message.type === 'save') {
      const documents = this._options.documents();
      const saved = await this._options
        .save()
        .catch(() => ({ copies: [], failed: documents }) as ISaved);
      this._send(socket, { type: 'saved', round: message.round, documents, ...saved });
      this._options.onSaved(saved);
    }
  }

  private _send(socket: ISocket, message: object): void {
    if (socket.readyState === OPEN) {
      socket.send(JSON.stringify(message));
    }
  }

  private _socket: ISocket | null = null;
  private _last: Received | null = null;
  private _retryMs = RETRY_FIRST_MS;
  private _usedAt = -Infinity;
}
