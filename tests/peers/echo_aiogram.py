"""An ordinary aiogram bot. It knows nothing of the stand-in but its address: what works here works with Telegram's
own server. Usage: echo_aiogram.py API_URL TOKEN poll | webhook PORT SECRET"""
import asyncio
import sys

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web

api, token, mode, *rest = sys.argv[1:]
bot = Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(api)))
dispatcher = Dispatcher()


@dispatcher.message(Command("ask"))
async def ask(message: Message):
    yes = InlineKeyboardButton(text="Yes", callback_data="answer:yes")
    await message.answer("<b>Sure</b>?", parse_mode="HTML", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[yes]]))


@dispatcher.message(F.document)
async def document(message: Message):
    file = await bot.get_file(message.document.file_id)
    content = await bot.download_file(file.file_path)
    await message.reply(f"{message.document.file_name}: {len(content.read())} bytes, {message.caption}")


@dispatcher.message(F.photo)
async def photo(message: Message):
    await message.answer(f"photo of album {message.media_group_id}: {message.caption}")


@dispatcher.edited_message()
async def edited(message: Message):
    await message.answer(f"edited to {message.text}")


@dispatcher.callback_query()
async def pressed(query: CallbackQuery):
    await query.answer("noted")
    await query.message.edit_text(f"You chose {query.data}")


@dispatcher.message()
async def echo(message: Message):
    await bot.send_chat_action(message.chat.id, "typing")
    await message.answer(f"{message.from_user.first_name} said: {message.text}")


async def poll():
    await dispatcher.start_polling(bot, handle_signals=False)


def webhook(port, secret):
    app = web.Application()
    SimpleRequestHandler(dispatcher, bot, secret_token=secret).register(app, path="/telegram/echo")
    setup_application(app, dispatcher, bot=bot)

    async def register(_):
        await bot.set_webhook("https://bot.example.com/telegram/echo", secret_token=secret)

    app.on_startup.append(register)
    web.run_app(app, host="127.0.0.1", port=int(port), print=None)


if mode == "poll":
    asyncio.run(poll())
else:
    webhook(*rest)
