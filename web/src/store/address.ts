/** A chat, in its session. */
export interface Address {
  sessionId: string;
  chatId: string;
}
