/**
 * Saving what this tab holds, so that nothing is lost and nothing is asked.
 *
 * A document whose file somebody else has changed meanwhile (another tab, most often) is written
 * as a copy beside it: Lab itself would ask whose version shall win, and nobody may be there.
 */

export interface IFile {
  type: string;
  format: string | null | undefined;
  content?: any;
  last_modified?: string;
}

/** The part of Lab's contents manager that is needed. */
export interface IFiles {
  get(path: string, options: { content: boolean; type?: any; format?: any }): Promise<IFile>;
  save(path: string, file: any): Promise<unknown>;
}

/** A document of this tab. */
export interface IDocument {
  readonly key: object;
  readonly path: string;
  readonly dirty: boolean;
  /** Kept by the server for all tabs together. */
  readonly shared: boolean;
  readonly lastModified: string | undefined;
  content(): IFile;
  save(): Promise<void>;
}

export interface ISaved {
  copies: string[];
  failed: string[];
}

/** Lab's own save may wait for an answer to a question; nobody may be there to give it. */
const SAVE_MS = 5000;

export class Saver {
  constructor(
    private _files: IFiles,
    private _now: () => Date = () => new Date(),
    private _saveMs = SAVE_MS
  ) {}

  async saveAll(documents: IDocument[]): Promise<ISaved> {
    const saved: ISaved = { copies: [], failed: [] };
    for (const document of documents) {
      if (!document.dirty) {
        continue;
      }
      try {
        const copy = await this._save(document);
        if (copy) {
          saved.copies.push(copy);
        }
      } catch {
        saved.failed.push(document.path);
      }
    }
    return saved;
  }

  /** Save a document; return the path of the copy, if one had to be written. */
  private async _save(document: IDocument): Promise<string | null> {
    if (document.shared) {
      await document.save();
      return null;
    }
    if ((await this._onDisk(document)) === document.lastModified) {
      try {
        await within(document.save(), this._saveMs);
        if (!document.dirty) {
          return null;
        }
      } catch {
        // Read-only, or changed in this very moment: a copy will do.
      }
    }
    return this._copy(document);
  }

  private async _onDisk(document: IDocument): Promise<string | undefined> {
    try {
      return (await this._files.get(document.path, { content: false })).last_modified;
    } catch {
      return undefined; // renamed or deleted elsewhere
    }
  }

  private async _copy(document: IDocument): Promise<string | null> {
    const file = document.content();
    const text = JSON.stringify(file.content);
    const known = this._copies.get(document.key);
    if (known?.text === text) {
      return known.path;
    }
    if (!known && (await this._isSame(document, file, text))) {
      return null;
    }
    const path = known?.path ?? recoveredPath(document.path, this._now());
    await this._files.save(path, file);
    this._copies.set(document.key, { path, text });
    return path;
  }

  private async _isSame(document: IDocument, file: IFile, text: string): Promise<boolean> {
    try {
      const { type, format } = file;
      const disk = await this._files.get(document.path, { content: true, type, format });
      return JSON.stringify(disk.content) === text;
    } catch {
      return false;
    }
  }

  private _copies = new WeakMap<object, { path: string; text: string }>();
}

/** Return where a document's edits are kept that may not go into its own file. */
export function recoveredPath(path: string, now: Date): string {
  const slash = path.lastIndexOf('/') + 1;
  const dot = path.indexOf('.', slash + 1);
  const end = dot < 0 ? path.length : dot;
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = `${two(now.getHours())}-${two(now.getMinutes())}-${two(now.getSeconds())}`;
  const ms = String(now.getMilliseconds()).padStart(3, '0');
  return `${path.slice(0, end)} (recovered ${day} ${time}-${ms})${path.slice(end)}`;
}

function within<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('took too long')), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
