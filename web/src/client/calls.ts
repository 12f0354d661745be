import { Emitter } from "./emitter.js";
import type { ClientEvents } from "./options.js";
import type { Agent, Chat, Message, RequestName, Requests, TypingAction } from "./types.js";

/** The requests about chats and messages. They reject with a RoomcastError. */
export abstract class Calls extends Emitter<ClientEvents> {
  /** Rejects with `disconnected` without a connection, and with `timeout` without an answer in time. */
  protected abstract request<Name extends RequestName>(
    name: Name,
    payload: Requests[Name]["payload"],
  ): Promise<Requests[Name]["data"]>;

  async markRead(sessionId: string, chatId: string, seq: number): Promise<Chat> {
    return (await this.request("mark_read", { sessionId, chatId, seq })).chat;
  }

  /**
   * Sends a message, and resolves to it once it is stored. Repeat the call with the same `clientId` until there is an
   * answer: the message is sent once. Rejects with `conflict` if somebody else has answered since `after`; nothing was
   * sent then, and `details.message` is that answer.
   */
  async sendMessage(message: Requests["send_message"]["payload"]): Promise<Message> {
    return (await this.request("send_message", message)).message;
  }

  /** Delivers a failed message again. Rejects with `conflict` if its status does not allow it. */
  async retryMessage(sessionId: string, chatId: string, messageId: string): Promise<Message> {
    return (await this.request("retry_message", { sessionId, chatId, messageId })).message;
  }

  /** Cancels a message that is `failed`, or `pending` and not being delivered. Rejects with `conflict` otherwise. */
  async cancelMessage(sessionId: string, chatId: string, messageId: string): Promise<Message> {
    return (await this.request("cancel_message", { sessionId, chatId, messageId })).message;
  }

  /**
   * Assigns the chat to an agent, or to nobody. With `expected`, the id of its present assignee (`null`: nobody), it
   * rejects with `conflict` if the assignee is another one; `details.chat` is the present chat.
   */
  async assignChat(sessionId: string, chatId: string, assignee: Agent | null, expected?: string | null): Promise<Chat> {
    const compare = expected === undefined ? {} : { expected };
    return (await this.request("assign_chat", { sessionId, chatId, assignee, ...compare })).chat;
  }

  async setChatState(sessionId: string, chatId: string, state: Chat["state"]): Promise<Chat> {
    return (await this.request("set_chat_state", { sessionId, chatId, state })).chat;
  }

  /** Tells that the agent is typing; repeat it every 5 s. */
  async typing(sessionId: string, chatId: string, action: TypingAction): Promise<void> {
    await this.request("typing", { sessionId, chatId, action });
  }
}
