import { Feed, IFeedOptions, ISocket } from '../src/feed';

class Socket implements ISocket {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  readyState = 1;
  sent: any[] = [];

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 3;
    this.onclose?.({});
  }
}

function setUp(): { sockets: Socket[]; feed: Feed; options: IFeedOptions } {
  const sockets: Socket[] = [];
  const options: IFeedOptions = {
    open: () => {
      sockets.push(new Socket());
      return sockets[sockets.length - 1];
    },
    language: 'zh_CN',
    documents: () => ['a.ipynb'],
    save: jest.fn(async () => ({ copies: ['copy'], failed: [] })),
    onState: jest.fn(),
    onSaved: jest.fn(),
    now: () => 5
  };
  return { sockets, options, feed: new Feed(options) };
}

beforeEach(() => jest.useFakeTimers());

test('tells its language and documents, and passes the state on', () => {
  const { sockets, options, feed } = setUp();
  feed.start();
  sockets[0].onopen!({});
  expect(sockets[0].sent).toEqual([{ type: 'hello', language: 'zh_CN', documents: ['a.ipynb'] }]);
  sockets[0].onmessage!({ data: '{"type": "state", "state": {"level": "red"}}' });
  expect(options.onState).toHaveBeenCalledWith({ state: { level: 'red' }, at_ms: 5 });
});

test('a server that is gone is told, once it had told something', () => {
  const { sockets, options, feed } = setUp();
  feed.start();
  sockets[0].close();
  expect(options.onState).not.toHaveBeenCalled();
  jest.advanceTimersByTime(1000);
  sockets[1].onmessage!({ data: '{"type": "state", "state": {"level": "red"}}' });
  sockets[1].close();
  expect(options.onState).toHaveBeenLastCalledWith({ state: { level: 'red' }, at_ms: 5, lost_ms: 5 });
});

test('saves when asked and answers with the round', async () => {
  const { sockets, options, feed } = setUp();
  feed.start();
  sockets[0].onmessage!({ data: '{"type": "save", "round": 3}' });
  await jest.advanceTimersByTimeAsync(0);
  expect(sockets[0].sent).toEqual([
    { type: 'saved', round: 3, documents: ['a.ipynb'], copies: ['copy'], failed: [] }
  ]);
  expect(options.onSaved).toHaveBeenCalled();
});

test('answers even if it cannot save: the server waits for every tab', async () => {
  const { sockets, options, feed } = setUp();
  (options.save as jest.Mock).mockRejectedValue(new Error('broken'));
  feed.start();
  sockets[0].onmessage!({ data: '{"type": "save", "round": 1}' });
  await jest.advanceTimersByTimeAsync(0);
  expect(sockets[0].sent[0]).toMatchObject({ round: 1, failed: ['a.ipynb'] });
});

test('tells that somebody is here, now and then', () => {
  const { sockets, options, feed } = setUp();
  let now = 0;
  options.now = () => now;
  feed.tellUsed(); // nobody to tell yet
  feed.start();
  for (now of [0, 19_999, 20_000, 20_001]) {
    feed.tellUsed();
  }
  expect(sockets[0].sent).toEqual([{ type: 'used' }, { type: 'used' }]);
});

test('connects again, each time a little later', () => {
  const { sockets, feed } = setUp();
  feed.start();
  sockets[0].close();
  jest.advanceTimersByTime(1000);
  expect(sockets.length).toBe(2);
  sockets[1].close();
  jest.advanceTimersByTime(1999);
  expect(sockets.length).toBe(2);
  jest.advanceTimersByTime(1);
  expect(sockets.length).toBe(3);
});
