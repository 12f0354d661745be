import type { Chat } from "../client";

/** Whether the chat waits for an answer. */
export function waits({ answered, lastMessage, state }: Chat): boolean {
  return state === "open" && !answered && lastMessage !== null;
}

/** Since when it has waited. Times of the contract can be compared as strings. */
export function waitsSince({ lastMessage, updatedAt, waitingSince }: Chat): string {
  return waitingSince ?? lastMessage?.timestamp ?? updatedAt;
}

/**
 * The chat to continue with: the next one in the list, from its start after its end, that waits for an answer and is not
 * assigned to somebody else.
 */
export function nextWaiting(chats: readonly Chat[], { sessionId, chatId }: Chat, me: string): Chat | null {
  const at = chats.findIndex((chat) => chat.chatId === chatId && chat.sessionId === sessionId);
  const others = at < 0 ? chats : [...chats.slice(at + 1), ...chats.slice(0, at)];
  return others.find((chat) => waits(chat) && (chat.assignee === null || chat.assignee.id === me)) ?? null;
}
