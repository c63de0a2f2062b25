import { IDocument, IFile, IFiles, Saver, recoveredPath } from '../src/saving';

/** Files as Lab's contents manager keeps them: each save gives a new time. */
class Files implements IFiles {
  files = new Map<string, IFile>();
  private _clock = 0;

  write(path: string, content: any): string {
    const last_modified = `t${++this._clock}`;
    this.files.set(path, { type: 'notebook', format: 'json', content, last_modified });
    return last_modified;
  }

  async get(path: string): Promise<IFile> {
    const file = this.files.get(path);
    if (!file) {
      throw new Error('404');
    }
    return file;
  }

  async save(path: string, file: IFile): Promise<void> {
    this.write(path, file.content);
  }
}

/** A document of one tab, which opened its file at some time. */
class Tab implements IDocument {
  key = this;
  shared = false;
  lastModified: string | undefined;
  dirty = false;
  hangs = false;

  constructor(
    readonly path: string,
    private _files: Files,
    public text: string
  ) {
    this.lastModified = _files.files.get(path)?.last_modified;
  }

  edit(text: string): void {
    this.text = text;
    this.dirty = true;
  }

  content(): IFile {
    return { type: 'notebook', format: 'json', content: this.text };
  }

  async save(): Promise<void> {
    if (this.hangs) {
      return new Promise(() => undefined);
    }
    this.lastModified = this._files.write(this.path, this.text);
    this.dirty = false;
  }
}

const at = new Date(2026, 10, 24, 9, 5, 7, 42);
const COPY = 'a/work (recovered 2026-11-24 09-05-07-042).ipynb';

function setUp(): { files: Files; first: Tab; second: Tab; saver: () => Saver } {
  const files = new Files();
  files.write('a/work.ipynb', 'old');
  const [first, second] = [1, 2].map(() => new Tab('a/work.ipynb', files, 'old'));
  return { files, first, second, saver: () => new Saver(files, () => at, 20) };
}

test('what is clean is left alone', async () => {
  const { files, first, saver } = setUp();
  expect(await saver().saveAll([first])).toEqual({ copies: [], failed: [] });
  expect(files.files.size).toBe(1);
});

test('the second of two tabs keeps its edits beside the file', async () => {
  const { files, first, second, saver } = setUp();
  first.edit('one');
  second.edit('two');
  expect((await saver().saveAll([first])).copies).toEqual([]);
  expect((await saver().saveAll([second])).copies).toEqual([COPY]);
  expect(files.files.get('a/work.ipynb')!.content).toBe('one');
  expect(files.files.get(COPY)!.content).toBe('two');
});

test('saved again and again there is one copy, with the latest edits', async () => {
  const { files, first, second, saver } = setUp();
  first.edit('one');
  second.edit('two');
  await saver().saveAll([first]);
  const mine = saver();
  await mine.saveAll([second]);
  second.edit('two and more');
  await mine.saveAll([second]);
  expect([...files.files.keys()]).toEqual(['a/work.ipynb', COPY]);
  expect(files.files.get(COPY)!.content).toBe('two and more');
});

test('the same edits in both tabs need no copy', async () => {
  const { files, first, second, saver } = setUp();
  first.edit('same');
  second.edit('same');
  await saver().saveAll([first]);
  expect(await saver().saveAll([second])).toEqual({ copies: [], failed: [] });
  expect(files.files.size).toBe(1);
});

test('a save that waits for an answer becomes a copy', async () => {
  const { files, first, saver } = setUp();
  first.edit('one');
  first.hangs = true;
  expect((await saver().saveAll([first])).copies).toEqual([COPY]);
  expect(files.files.get(COPY)!.content).toBe('one');
});

test('a file deleted elsewhere is written as a copy, and one failure does not end the round', async () => {
  const { files, first, second, saver } = setUp();
  files.files.delete('a/work.ipynb');
  first.edit('one');
  second.edit('two');
  const save = files.save.bind(files);
  let calls = 0;
  files.save = async (path, file) => {
    if (++calls === 1) {
      throw new Error('disk full');
    }
    return save(path, file);
  };
  const saved = await saver().saveAll([first, second]);
  expect(saved).toEqual({ copies: [COPY], failed: ['a/work.ipynb'] });
});

test('names of copies', () => {
  expect(recoveredPath('x.tar.gz', at)).toBe('x (recovered 2026-11-24 09-05-07-042).tar.gz');
  expect(recoveredPath('d/.bashrc', at)).toBe('d/.bashrc (recovered 2026-11-24 09-05-07-042)');
  expect(recoveredPath('Makefile', at)).toBe('Makefile (recovered 2026-11-24 09-05-07-042)');
});
