"""An ordinary python-telegram-bot bot, polling the stand-in. Usage: echo_ptb.py API_URL TOKEN"""
import sys

from telegram import Update
from telegram.ext import Application, MessageHandler, filters

api, token = sys.argv[1:]


async def echo(update: Update, _):
    await update.message.reply_text(f"{update.effective_user.first_name} said: {update.message.text}")


application = Application.builder().token(token).base_url(f"{api}/bot").base_file_url(f"{api}/file/bot").build()
application.add_handler(MessageHandler(filters.TEXT, echo))
application.run_polling(stop_signals=None)
