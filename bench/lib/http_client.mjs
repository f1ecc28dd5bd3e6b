// A small HTTP/1.1 client on a socket that is kept alive. Invariant: one request at a time on a
// connection, timed from before its first byte is written until its last is read. It understands
// what the measured servers send, answers with a Content-Length, and nothing else.
import net from "node:net";

const TIMEOUT_MS = 60_000;
const HEAD_END = Buffer.from("\r\n\r\n");

export class Connection {
  #socket;
  #read = null;
  #waiting = null;
  #broken = null;

  /** @returns a connection to a port of this machine. */
  static async open(port) {
    const socket = net.connect({ host: "127.0.0.1", port, noDelay: true });
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new Connection(socket);
  }

  constructor(socket) {
    this.#socket = socket;
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("no answer in time")));
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection was closed")));
  }

  /** @returns the answer, `{status, text, ms}`. */
  request(method, path, body) {
    const payload = body === undefined ? "" : JSON.stringify(body);
    const head =
      `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(payload)}\r\n\r\n`;
    return new Promise((resolve, reject) => {
      if (this.#broken !== null) {
        reject(this.#broken);
        return;
      }
      this.#waiting = { resolve, reject, from: performance.now() };
      this.#socket.write(head + payload);
    });
  }

  /** @returns the answer, decoded, with its `ms`; throws when it is not `status`. */
  async expect(status, method, path, body) {
    const answer = await this.request(method, path, body);
    if (answer.status !== status) {
      throw new Error(`${method} ${path} answered ${answer.status}: ${answer.text.slice(0, 300)}`);
    }
    return { value: JSON.parse(answer.text), ms: answer.ms };
  }

  close() {
    this.#waiting = null;
    this.#socket.destroy();
  }

  #receive(chunk) {
    this.#read = this.#read === null ? chunk : Buffer.concat([this.#read, chunk]);
    const at = this.#read.indexOf(HEAD_END);
    if (at < 0) {
      return;
    }
    const head = this.#read.toString("latin1", 0, at);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head);
    if (length === null) {
      this.#socket.destroy(new Error("an answer without Content-Length"));
      return;
    }
    const whole = at + HEAD_END.length + Number(length[1]);
    if (this.#read.length < whole || this.#waiting === null) {
      return;
    }
    const { resolve, from } = this.#waiting;
    const ms = performance.now() - from;
    const text = this.#read.toString("utf8", at + HEAD_END.length, whole);
    const status = Number(head.slice(9, 12));
    this.#read = null;
    this.#waiting = null;
    resolve({ status, text, ms });
  }

  #fail(error) {
    this.#broken ??= error;
    this.#waiting?.reject(error);
    this.#waiting = null;
  }
}
