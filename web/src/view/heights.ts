/** The heights of a list's rows, measured or estimated. Does not use the DOM. */
export class Heights {
  private readonly measured = new Map<string, number>();
  private keys: readonly string[] = [];
  private indexes = new Map<string, number>();
  /** `offsets[i]` is the start of row i; the last one is the total height. */
  private offsets = new Float64Array(1);
  private stale = true;

  constructor(private readonly estimate: number) {}

  /** Sets the rows. Measurements of rows that stay are kept. */
  setKeys(keys: readonly string[]): void {
    this.keys = keys;
    this.indexes = new Map(keys.map((key, index) => [key, index]));
    this.stale = true;
  }

  measure(key: string, height: number): void {
    if (this.measured.get(key) === height) return;
    this.measured.set(key, height);
    this.stale = true;
  }

  /** After a change of the width, invisible rows may have another height. */
  forget(): void {
    this.measured.clear();
    this.stale = true;
  }

  get total(): number {
    return this.offset(this.keys.length);
  }

  offset(index: number): number {
    if (this.stale) this.add();
    return this.offsets[index] ?? 0;
  }

  indexOf(key: string): number {
    return this.indexes.get(key) ?? -1;
  }

  keyAt(index: number): string | undefined {
    return this.keys[index];
  }

  /** The row at this distance from the top, or the last one. */
  indexAt(distance: number): number {
    let low = 0;
    let high = this.keys.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.offset(middle) <= distance) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  private add(): void {
    this.stale = false;
    if (this.offsets.length !== this.keys.length + 1) this.offsets = new Float64Array(this.keys.length + 1);
    let sum = 0;
    this.keys.forEach((key, index) => {
      this.offsets[index] = sum;
      sum += this.measured.get(key) ?? this.estimate;
    });
    this.offsets[this.keys.length] = sum;
  }
}
