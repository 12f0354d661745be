import { Component, type ComponentChild } from "preact";

interface Props {
  /** Everything that the content depends on. */
  of: readonly unknown[];
  children: () => ComponentChild;
}

/** Content that is rendered again only when one of its dependencies has changed. */
export class Still extends Component<Props> {
  override shouldComponentUpdate({ of }: Props): boolean {
    return of.length !== this.props.of.length || of.some((value, index) => value !== this.props.of[index]);
  }

  render({ children }: Props): ComponentChild {
    return children();
  }
}
