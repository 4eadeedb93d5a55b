// The files below data/: the same from the server of `adaptinf view` and from an exported folder.

const KEPT_CHUNKS = 400;
const AT_ONCE = 8;

async function fetched(path) {
  const answer = await fetch(`data/${path}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${(await answer.text()).slice(0, 300)}`);
  return answer;
}

export const json = async (path) => (await fetched(path)).json();
export const bytes = async (path) => (await fetched(path)).arrayBuffer();

const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

export class Data {
  static async open() {
    return new Data(await json("view.json"));
  }

  constructor(view) {
    this.view = view;
    this.numRows = view.num_rows;
    this.columns = view.columns.map((column, number) => ({ ...column, number, data: null }));
    this.chunks = new Map();
  }

  async places() {
    return new Float32Array(await bytes("places.bin"));
  }

  async neighbours() {
    this.near ??= bytes("neighbours.bin").then((buffer) => new Int32Array(buffer));
    return this.near;
  }

  column(name) {
    return this.columns.find((column) => column.name === name);
  }

  // The values of a column, read when they are first asked for.
  async values(column) {
    column.reading ??= bytes(column.file).then((buffer) => (column.data = new ARRAYS[column.type](buffer)));
    return column.reading;
  }

  chunk(number) {
    let found = this.chunks.get(number);
    if (!found) {
      found = json(`rows/${number}.json`);
      found.catch(() => this.chunks.delete(number));
      this.chunks.set(number, found);
      if (this.chunks.size > KEPT_CHUNKS) this.chunks.delete(this.chunks.keys().next().value);
    }
    return found;
  }

  async row(row) {
    const size = this.view.chunk_rows;
    return (await this.chunk(Math.floor(row / size)))[row % size];
  }

  // The ids of some rows, ascending, as lines of a file of ids.
  async idLines(rows) {
    const size = this.view.id_rows;
    const lines = [];
    let number = -1;
    let chunk = [];
    for (const row of rows) {
      if (Math.floor(row / size) !== number) {
        number = Math.floor(row / size);
        chunk = await json(`ids/${number}.json`);
      }
      lines.push(chunk[row % size]);
    }
    return lines;
  }

  // Marks of the rows with a text; an exported folder is read chunk by chunk, `onPart` is told the share that is done.
  async search(text, onPart, isWanted) {
    const marks = new Uint8Array(this.numRows);
    if (!this.view.is_static) {
      const rows = new Int32Array(await bytes(`search?q=${encodeURIComponent(text)}`));
      for (const row of rows) marks[row] = 1;
      return marks;
    }
    const wanted = text.toLowerCase();
    const numChunks = Math.ceil(this.numRows / this.view.chunk_rows);
    let next = 0;
    const worker = async () => {
      while (next < numChunks && isWanted()) {
        const number = next++;
        const rows = await json(`rows/${number}.json`);
        rows.forEach((row, place) => {
          const has = (part) => part.toLowerCase().includes(wanted);
          if (has(row.id) || row.turns.some(([, part]) => has(part))) marks[number * this.view.chunk_rows + place] = 1;
        });
        onPart(next / numChunks);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return marks;
  }
}

export const questionOf = (row) => row.turns.find(([role]) => role === "user")?.[1] ?? "";
export const answerOf = (row) => row.turns.find(([role]) => role === "assistant")?.[1] ?? "";
