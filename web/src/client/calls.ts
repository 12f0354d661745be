import { Emitter } from "./emitter.js";
import type { ClientEvents } from "./options.js";
import type { Agent, Chat, Message, RequestName, Requests, TypingAction } from "./types.js";

/** What a client asks of the server about chats and messages. Each call rejects with a RoomcastError. */
export abstract class Calls extends Emitter<ClientEvents> {
  /** Rejects with `disconnected` without a connection, and with `timeout` where no answer comes in time. */
  protected abstract request<Name extends RequestName>(
    name: Name,
    payload: Requests[Name]["payload"],
  ): Promise<Requests[Name]["data"]>;

  async markRead(sessionId: string, chatId: string, seq: number): Promise<Chat> {
    return (await this.request("mark_read", { sessionId, chatId, seq })).chat;
  }

  /**
   * Sends an answer, and resolves to the message once it is stored. It can be repeated with the same `clientId` until
   * there is an answer: the message is sent once. Rejects with `conflict` if somebody else has answered since `after`;
   * `details.message` is that answer, and nothing was sent.
   */
  async sendMessage(message: Requests["send_message"]["payload"]): Promise<Message> {
    return (await this.request("send_message", message)).message;
  }

  /** Delivers a failed message again. Rejects with `conflict` if its status does not allow it. */
  async retryMessage(sessionId: string, chatId: string, messageId: string): Promise<Message> {
    return (await this.request("retry_message", { sessionId, chatId, messageId })).message;
  }

  /** Gives a message up that is `failed`, or `pending` and not being delivered. Rejects with `conflict` otherwise. */
  async cancelMessage(sessionId: string, chatId: string, messageId: string): Promise<Message> {
    return (await this.request("cancel_message", { sessionId, chatId, messageId })).message;
  }

  /**
   * Gives the chat to an agent, or to nobody. With `expected`, the id of who has it as far as the caller knows (`null`:
   * nobody), it rejects with `conflict` if somebody else has it; `details.chat` is the chat as it is.
   */
  async assignChat(sessionId: string, chatId: string, assignee: Agent | null, expected?: string | null): Promise<Chat> {
    const compare = expected === undefined ? {} : { expected };
    return (await this.request("assign_chat", { sessionId, chatId, assignee, ...compare })).chat;
  }

  async setChatState(sessionId: string, chatId: string, state: Chat["state"]): Promise<Chat> {
    return (await this.request("set_chat_state", { sessionId, chatId, state })).chat;
  }

  /** Says that the agent is typing, or has stopped; repeat it every 5 s. */
  async typing(sessionId: string, chatId: string, action: TypingAction): Promise<void> {
    await this.request("typing", { sessionId, chatId, action });
  }
}
