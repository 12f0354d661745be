import { Component, createRef, type ComponentChild, type ComponentChildren, type HTMLAttributes, type JSX, type RefObject } from "preact";

import { Heights } from "./heights";

interface Props<Item> {
  items: readonly Item[];
  keyOf: (item: Item) => string;
  /** The estimated height of a row that was not measured yet. */
  estimate: number;
  /**
   * What keeps its place when rows are added, removed or resized. `start`: the scroll position, as in a list read from
   * the top. `end`: the end if it was visible, otherwise the row at the upper edge, as in a chat.
   */
  anchor: "start" | "end";
  row: (item: Item, index: number) => ComponentChild;
  /** Scrolls this row into view whenever it changes. */
  revealed?: string | null;
  /** Called near the edge where more rows are needed: the end of a list, the beginning of a chat. */
  onNearMore?: () => void;
  onFollow?: (following: boolean) => void;
  /** The row that a chat opens at, instead of its end, and how much of it is above the upper edge. */
  start?: Place | null;
  /** Called with the visible rows whenever they may have changed. */
  onView?: (view: View) => void;
  /** Content above the rows that scrolls with them. */
  before?: ComponentChildren;
  scroller?: HTMLAttributes<HTMLDivElement>;
  /** Called with the list itself. (`ref` of a component is a normal property in this version of Preact.) */
  self?: RefObject<VirtualList<Item> | null>;
}

/** A row, and how much of it is above the upper edge. */
export interface Place {
  key: string;
  delta: number;
}

export interface View {
  /** The last row that is completely visible, or fills the view. */
  last: string;
  atEnd: boolean;
  /** The row at the upper edge. */
  place: Place;
}

/** How much is drawn above and below the visible part, in pixels. */
const OVERSCAN = 500;
/** Distance from the edge at which more rows are requested. */
const NEAR = 1_200;
/** Number of rows from the upper edge that are remembered, in case the first ones are removed. */
const HELD = 4;
/** Distance that still counts as the end. */
const AT_END = 32;

/** A row of which no more than this is hidden counts as visible. */
const NEARLY = 4;

/** A long list of which only the visible rows are in the document. */
export class VirtualList<Item> extends Component<Props<Item>> {
  private readonly scroller = createRef<HTMLDivElement>();
  private readonly spacer = createRef<HTMLDivElement>();
  private readonly slice = createRef<HTMLDivElement>();
  private readonly above = createRef<HTMLDivElement>();
  private readonly below = createRef<HTMLDivElement>();
  private readonly heights = new Heights(this.props.estimate);
  private items: readonly Item[] | null = null;
  /** The rows that are in the document: from `first` to before `last`. */
  private first = 0;
  private last = 0;
  private top = 0;
  private width = 0;
  private following = this.props.anchor === "end" && !this.props.start;
  /** The row at the upper edge and how much of it is above, followed by the rows below, in case it is removed. */
  private held: readonly Place[] = this.props.start ? [this.props.start] : [];
  private observer: ResizeObserver | null = null;

  override componentDidMount(): void {
    // Before painting, the browser reports resized rows (a loaded picture) and a resized window.
    this.observer = new ResizeObserver(() => this.place());
    if (this.props.self) this.props.self.current = this;
    this.componentDidUpdate({});
    // The row for the upper edge may be so close to the end that everything below is visible.
    const scroller = this.scroller.current;
    if (this.props.start && scroller) this.follow(this.atEnd(scroller));
    this.tell();
  }

  override componentDidUpdate(previous: { revealed?: string | null }): void {
    this.place();
    this.observer?.disconnect();
    for (const element of [this.scroller.current, this.above.current, ...this.rows()]) {
      if (element) this.observer?.observe(element);
    }
    const { revealed } = this.props;
    if (revealed && revealed !== previous.revealed) this.reveal(revealed);
  }

  override componentWillUnmount(): void {
    this.observer?.disconnect();
  }

  scrollToEnd(): void {
    this.follow(true);
    this.place();
  }

  /** Scrolls this row to the upper third. It must be one of the list's rows. */
  showRow(key: string): void {
    const scroller = this.scroller.current;
    if (!scroller || this.heights.indexOf(key) < 0) return;
    this.following = false;
    this.held = [{ key, delta: -scroller.clientHeight / 3 }];
    this.place();
    this.following = this.atEnd(scroller);
    this.props.onFollow?.(this.following);
  }

  render({ items, keyOf, row, before, scroller }: Props<Item>): JSX.Element {
    if (items !== this.items) {
      this.items = items;
      this.heights.setKeys(items.map(keyOf));
    }
    [this.first, this.last] = this.range(OVERSCAN);
    return (
      <div {...scroller} ref={this.scroller} class={`scroller ${scroller?.class ?? ""}`} onScroll={this.scrolled}>
        <div ref={this.above} role="presentation">
          {before}
        </div>
        <div ref={this.spacer} class="spacer" role="presentation">
          <div ref={this.slice} class="slice" role="presentation">
            {items.slice(this.first, this.last).map((item, index) => (
              <div key={keyOf(item)} class="row" role="presentation">
                {row(item, this.first + index)}
              </div>
            ))}
          </div>
        </div>
        <div ref={this.below} class="below" role="presentation" />
      </div>
    );
  }

  /** Determines the rows in the document, keeping the place that must be kept. */
  private range(overscan: number): [first: number, last: number] {
    const height = this.scroller.current?.clientHeight ?? 800;
    const offset = this.wantedTop() - this.headHeight();
    const last = this.heights.indexAt(offset + height + overscan) + 1;
    return [this.heights.indexAt(offset - overscan), Math.min(this.props.items.length, last)];
  }

  /** Not for every row, but only when half of the rows drawn ahead are used up. */
  private renderOthers(): void {
    const [first, last] = this.range(OVERSCAN / 2);
    if (first < this.first || last > this.last) this.forceUpdate();
  }

  private wantedTop(): number {
    const scroller = this.scroller.current;
    const most = Math.max(0, this.headHeight() + this.heights.total + this.tailHeight() - (scroller?.clientHeight ?? 800));
    if (this.props.anchor === "start") return Math.min(most, this.top);
    if (this.following) return most;
    const held = this.held.find(({ key }) => this.heights.indexOf(key) >= 0);
    if (!held) return Math.min(most, this.top);
    const wanted = this.headHeight() + this.heights.offset(this.heights.indexOf(held.key)) + held.delta;
    return Math.max(0, Math.min(most, wanted));
  }

  private headHeight(): number {
    return this.above.current?.offsetHeight ?? 0;
  }

  private tailHeight(): number {
    return this.below.current?.offsetHeight ?? 0;
  }

  private rows(): HTMLElement[] {
    return [...(this.slice.current?.children ?? [])] as HTMLElement[];
  }

  /** Measures the rows and positions everything, at once and before painting. */
  private place = (): void => {
    const [scroller, spacer, slice] = [this.scroller.current, this.spacer.current, this.slice.current];
    // A hidden list has no sizes to measure.
    if (!scroller || !spacer || !slice || scroller.clientHeight === 0) return;
    if (scroller.clientWidth !== this.width) {
      if (this.width > 0) this.heights.forget();
      this.width = scroller.clientWidth;
    }
    this.rows().forEach((element, index) => {
      const key = this.heights.keyAt(this.first + index);
      if (key !== undefined) this.heights.measure(key, exactHeight(element));
    });
    spacer.style.height = `${this.heights.total}px`;
    slice.style.transform = `translateY(${this.heights.offset(this.first)}px)`;
    const wanted = this.wantedTop();
    if (Math.abs(scroller.scrollTop - wanted) >= 1) scroller.scrollTop = wanted;
    this.top = scroller.scrollTop;
    this.hold();
    this.renderOthers();
    this.askForMore();
    this.tell();
  };

  private scrolled = (): void => {
    const scroller = this.scroller.current;
    // Our own scrolling also causes an event.
    if (!scroller || Math.abs(scroller.scrollTop - this.top) < 1) return;
    this.top = scroller.scrollTop;
    this.held = [];
    if (this.props.anchor === "end") this.follow(this.atEnd(scroller));
    this.hold();
    this.renderOthers();
    this.askForMore();
    this.tell();
  };

  private tell(): void {
    const [scroller, place] = [this.scroller.current, this.held[0]];
    if (!this.props.onView || !scroller || !place) return;
    const lower = this.top - this.headHeight() + scroller.clientHeight;
    const first = this.heights.indexOf(place.key);
    let index = this.heights.indexAt(lower - 1);
    if (index > first && this.heights.offset(index + 1) > lower + NEARLY) index -= 1;
    const last = this.heights.keyAt(index);
    if (last !== undefined) this.props.onView({ last, atEnd: this.atEnd(scroller), place });
  }

  /** Remembers the row at the upper edge, as long as that row exists. */
  private hold(): void {
    const [first] = this.held;
    if (first && this.heights.indexOf(first.key) >= 0) return;
    const offset = this.top - this.headHeight();
    const index = this.heights.indexAt(offset);
    this.held = Array.from({ length: HELD }, (_, more) => index + more).flatMap((at) => {
      const key = this.heights.keyAt(at);
      return key === undefined ? [] : [{ key, delta: offset - this.heights.offset(at) }];
    });
  }

  private atEnd(scroller: HTMLElement): boolean {
    return scroller.scrollHeight - scroller.clientHeight - this.top <= AT_END;
  }

  private follow(following: boolean): void {
    if (this.following === following) return;
    this.following = following;
    this.props.onFollow?.(following);
  }

  private askForMore(): void {
    const scroller = this.scroller.current;
    if (!scroller || this.props.items.length === 0) return;
    const left =
      this.props.anchor === "end" ? this.top : this.heights.total - this.top - scroller.clientHeight;
    if (left < NEAR) this.props.onNearMore?.();
  }

  private reveal(key: string): void {
    const scroller = this.scroller.current;
    const index = this.heights.indexOf(key);
    if (!scroller || index < 0) return;
    const start = this.heights.offset(index);
    const end = this.heights.offset(index + 1);
    if (start < scroller.scrollTop) scroller.scrollTop = start;
    else if (end > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = end - scroller.clientHeight;
    this.scrolled();
  }
}

/** Layout works in 64ths of a pixel; finer differences depend on the screen position of the measurement. */
function exactHeight(element: HTMLElement): number {
  return Math.round(element.getBoundingClientRect().height * 64) / 64;
}
