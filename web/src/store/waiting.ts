import type { Chat } from "../client";

/** Whether somebody waits for an answer in this chat. */
export function waits({ answered, lastMessage, state }: Chat): boolean {
  return state === "open" && !answered && lastMessage !== null;
}

/** Since when. All times of the contract are of one form, so that they can be compared as they are. */
export function waitsSince({ lastMessage, updatedAt, waitingSince }: Chat): string {
  return waitingSince ?? lastMessage?.timestamp ?? updatedAt;
}

/**
 * The chat to go on with after this one: the next of the list in which somebody waits, and which is nobody else's; at
 * the list's end it begins anew.
 */
export function nextWaiting(chats: readonly Chat[], { sessionId, chatId }: Chat, me: string): Chat | null {
  const at = chats.findIndex((chat) => chat.chatId === chatId && chat.sessionId === sessionId);
  const others = at < 0 ? chats : [...chats.slice(at + 1), ...chats.slice(0, at)];
  return others.find((chat) => waits(chat) && (chat.assignee === null || chat.assignee.id === me)) ?? null;
}
