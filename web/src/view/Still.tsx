import { Component, type ComponentChild } from "preact";

interface Props {
  /** All that the content depends on. */
  of: readonly unknown[];
  children: () => ComponentChild;
}

/** Content that is drawn anew only when something that it depends on is another. */
export class Still extends Component<Props> {
  override shouldComponentUpdate({ of }: Props): boolean {
    return of.length !== this.props.of.length || of.some((value, index) => value !== this.props.of[index]);
  }

  render({ children }: Props): ComponentChild {
    return children();
  }
}
